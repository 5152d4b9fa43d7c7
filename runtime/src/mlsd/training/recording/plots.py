"""Two pictures of a training run: is the probability true, and is the ranking better."""

from pathlib import Path

from matplotlib.figure import Figure

from mlsd.core.home import replacing
from mlsd.training.candidate import Candidate


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return path


def reliability_curve(rungs: list[Candidate], folder: Path) -> Path:
    """Observed share of positives over the predicted one, a line for each model."""
    figure = Figure(figsize=(5, 5))
    axes = figure.add_subplot()
    for rung in rungs:
        axes.plot(
            rung.reliability["predicted"],
            rung.reliability["observed"],
            marker="o",
            label=f"{rung.name}, ECE {rung.ece:.3f}",
        )
    most = max(max(r.reliability["predicted"] + r.reliability["observed"]) for r in rungs)
    axes.plot([0, most], [0, most], color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="predicted", ylabel="observed", title="Reliability on the test rows")
    axes.legend(fontsize=7)
    return _save(figure, folder / "reliability.png")


def ndcg_by_model(rungs: list[Candidate], folder: Path) -> Path:
    """NDCG@10 of each model with its bootstrap 95 % interval."""
    figure = Figure(figsize=(6, 0.6 * len(rungs) + 1.2))
    axes = figure.add_subplot()
    means = [rung.ndcg10 for rung in rungs]
    errors = [[r.ndcg10 - r.ndcg10_ci[0] for r in rungs], [r.ndcg10_ci[1] - r.ndcg10 for r in rungs]]
    axes.barh([rung.name for rung in rungs], means, xerr=errors, color="#7a9cc6", capsize=4)
    axes.invert_yaxis()
    axes.set(xlabel="NDCG@10", title="Ranking quality on the test rows")
    return _save(figure, folder / "ndcg.png")
