"""Two pictures of a training run, as SVG: is the probability true, and is the ranking better."""

from pathlib import Path

from markupsafe import Markup

from mlsd.core import svg
from mlsd.core.home import replacing
from mlsd.training.candidate import Candidate

STYLE = (
    "text{font:12px sans-serif;fill:#333} .grid{stroke:#ddd} .even{stroke:#999;stroke-dasharray:4 3} "
    ".l0{stroke:#777} .l1{stroke:#c66} .l2{stroke:#36a} .l3{stroke:#383} .curve{fill:none;stroke-width:2} "
    ".bar{fill:#7a9cc6} .interval{stroke:#222;stroke-width:1.5}"
)
SIZE, LEFT, ROW = 420.0, 60.0, 34.0


def _save(path: Path, width: float, height: float, title: str, *content: Markup) -> Path:
    style = svg.tag("style", Markup(STYLE))  # noqa: S704 - a constant
    drawn = str(svg.drawing(width, height, title, style, *content))
    alone = drawn.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" ', 1)
    with replacing(path) as temporary:
        temporary.write_text(alone, encoding="utf-8")
    return path


def reliability_curve(candidates: list[Candidate], folder: Path) -> Path:
    """Observed share of positives over the predicted one, a line for each model."""
    most = max(max(each.reliability["predicted"] + each.reliability["observed"]) for each in candidates) or 1.0
    frame = svg.Frame(LEFT, 30, SIZE - 20, SIZE - 40)
    x, y = svg.linear(0, most, frame.left, frame.right), svg.linear(0, most, frame.bottom, frame.top)
    parts = [*frame.grid_x(x, svg.ticks(0, most)), *frame.grid_y(y, svg.ticks(0, most))]
    parts.append(svg.line(x(0), y(0), x(most), y(most), "even"))
    for number, each in enumerate(candidates):
        curve = each.reliability
        points = [(x(p), y(o)) for p, o in zip(curve["predicted"], curve["observed"], strict=True)]
        parts.append(svg.path(points, f"curve l{number % 4}"))
        row = frame.top + 16 * (number + 1)
        parts.append(svg.line(frame.left + 8, row - 4, frame.left + 24, row - 4, f"curve l{number % 4}"))
        parts.append(svg.text(frame.left + 30, row, f"{each.name}, ECE {each.ece:.3f}"))
    parts.append(svg.text(frame.left, 18, "Reliability on the test rows: observed over predicted"))
    return _save(folder / "reliability.svg", SIZE, SIZE, "Reliability", *parts)


def ndcg_by_model(candidates: list[Candidate], folder: Path) -> Path:
    """NDCG@10 of each model with its bootstrap 95 % interval."""
    frame = svg.Frame(190, 30, 560, 30 + ROW * len(candidates))
    most = max(each.ndcg10_ci[1] for each in candidates) or 1.0
    x = svg.linear(0, most, frame.left, frame.right)
    parts = frame.grid_x(x, svg.ticks(0, most))
    for number, each in enumerate(candidates):
        middle = frame.top + ROW * (number + 0.5)
        low, high = each.ndcg10_ci
        parts.append(svg.bar(frame.left, middle - 8, x(each.ndcg10) - frame.left, 16, "bar"))
        parts.append(svg.line(x(low), middle, x(high), middle, "interval"))
        parts.append(svg.text(frame.left - 8, middle + 4, each.name, anchor="end"))
    parts.append(svg.text(frame.left, 18, "NDCG@10 on the test rows, 95 % interval"))
    return _save(folder / "ndcg.svg", 580, frame.bottom + 30, "NDCG@10", *parts)
