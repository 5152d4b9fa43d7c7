"""What only the pack can judge in a design: names that it must know, and the business metric that it computes."""

from collections.abc import Iterable
from difflib import get_close_matches

from mlsd.core.errors import UserError
from mlsd.design.design import Design, design_path
from mlsd.problem.problem import BusinessMetric, Problem


def _unknown(field: str, name: str, known: Iterable[str], what: str) -> str:
    """One line: the nearest known name first, for most are misspelt; then all of them."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", nearest {nearest[0]!r}" if nearest else ""
    return f"{field}: found {name!r}, expected {what}{hint} (known: {', '.join(names)})"


def _features(design: Design, problem: Problem) -> list[str]:
    known, field = problem.feature_names, "monitoring.critical_features"
    named = design.monitoring.critical_features
    return [_unknown(field, name, known, "a feature of the pack") for name in named if name not in known]


def _metric(design: Design, problem: Problem) -> list[str]:
    success, known = design.success, problem.business_metrics
    if success.metric not in known:
        return [_unknown("success.metric", success.metric, known, "a metric that the pack computes")]
    found, source = known[success.metric], design.data.source
    if source in design.data.mappings and not found.of_ratings:
        fits = ", ".join(name for name, metric in known.items() if metric.of_ratings)
        return [f"success.metric: found {success.metric!r}, expected one of {fits}: {source} has no {found.unit}"]
    if success.target < found.highest:
        return []
    rule = f"below {found.highest:g} {found.unit} per shown item"
    return [f"success.target: found {success.target:g}, expected {rule}: {success.metric} can never reach it"]


def _columns(design: Design, problem: Problem) -> list[str]:
    """Columns of every mapping, also of those not in use: a name that is nowhere would be nobody's."""
    tables = {table.name: [column.name for column in table.columns] for table in problem.contract(design).tables}
    return [
        _unknown(f"data.mappings.{mapping}.{name}.columns", column, tables[name], f"a column of {name}")
        for mapping, parts in design.data.mappings.items()
        for name, part in (("users", parts.users), ("items", parts.items), ("engagements", parts.engagements))
        for column in (part.columns if part else ())
        if column not in tables[name]
    ]


def require_known_names(design: Design, problem: Problem) -> None:
    """Compare the names of a design with those of its pack.

    Raises:
        UserError: one line for each name that is none, with the nearest one and all known ones.
    """
    broken = [*_metric(design, problem), *_features(design, problem), *_columns(design, problem)]
    if broken:
        raise UserError("\n".join(f"{design_path()}: {line}" for line in broken))


def business_metric(design: Design, problem: Problem) -> BusinessMetric:
    """The pack's metric that `success.metric` names.

    Raises:
        UserError: it computes no such metric, or one that never reaches the target.
    """
    if broken := _metric(design, problem):
        raise UserError(f"{design_path()}: {broken[0]}")
    return problem.business_metrics[design.success.metric]
