"""Steps 1-2: `design.yaml`, typed and validated. Every budget, gate, alert and rollout step is read from here."""

import hashlib
import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from mlsd.core.errors import UserError
from mlsd.design import rules
from mlsd.design.online_sections import Batch, Delivery, LoadTest, Monitoring, Serving
from mlsd.design.sections import Capacity, Data, Features, Label, Latency, MaxAge, Part, Scale, Success, Training


class Design(Part):
    """The whole design."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
    problem: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    cloud: Literal["gcp", "aws", "azure"]
    scale: Scale
    latency: Latency
    capacity: Capacity
    success: Success
    label: Label
    ranking: Literal["pointwise", "pairwise", "listwise"]
    data: Data
    features: Features
    training: Training
    serving_mode: Literal["online", "batch", "hybrid"]
    serving: Serving
    batch: Batch
    load_test: LoadTest
    delivery: Delivery
    monitoring: Monitoring

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        """Every rule across sections; one line for each that is broken."""
        serving = self.serving
        found = (
            rules.queue_ends_within_the_budget(self.latency, serving.admission),
            rules.pruning_leaves_fewer(self.scale, serving.admission),
            rules.labels_mature_within_the_history(self.label, self.data),
            rules.log_outlives_its_labels(self.label, serving.feature_log),
            rules.log_outlives_its_model(serving.feature_log, self.monitoring),
            rules.hybrid_pool_fits_a_request(self.serving_mode, self.batch, self.scale),
        )
        if broken := [each for each in found if each]:
            raise ValueError("\n".join(broken))
        return self

    @property
    def max_age_h(self) -> MaxAge:
        """Ages for the data source in use: a mapping may bring its own."""
        mapping = self.data.mappings.get(self.data.source)
        return mapping.max_age_h if mapping else self.features.max_age_h

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with any number of the design."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def design_path() -> Path:
    """`$MLSD_DESIGN`, else `design.yaml` in the working directory."""
    return Path(os.environ.get("MLSD_DESIGN") or "design.yaml").absolute()


def _found(problem: Any) -> list[str]:
    """The problem as lines, each with the field that it is about; a rule across sections names its own."""
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return rule.splitlines()
    return [f"{'.'.join(map(str, problem['loc']))}: {_text(problem, rule)}"]


def _siblings(place: tuple[str | int, ...]) -> list[str]:
    """Names of the fields that may stand where an unknown one was found."""
    section: type[Part] = Design
    for name in place[:-1]:
        field = section.model_fields.get(str(name))  # none: a name that the team gave, such as a mapping's
        inside = (field.annotation, *get_args(field.annotation)) if field else ()
        section = next((kind for kind in inside if isinstance(kind, type) and issubclass(kind, Part)), section)
    return list(section.model_fields)


def _text(problem: Any, rule: str) -> str:
    if problem["type"] == "extra_forbidden":
        known = _siblings(problem["loc"])
        nearest = get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f", nearest {nearest[0]!r}" if nearest else ""
        return f"found an unknown field, expected one of {', '.join(known)}{hint}"
    if problem["type"] == "missing":
        return "found nothing, expected a value"
    if isinstance(problem["input"], (dict, list)):
        kind = "a section" if isinstance(problem["input"], dict) else "a list"
        return f"found {kind}, expected: {rule}" if problem["type"].endswith("_type") else rule
    return f"found {problem['input']!r}, expected: {rule}"


def load_design(path: Path | None = None) -> Design:
    """Read and validate a design file.

    Raises:
        UserError: one line per problem, each naming the field, the value found and the rule.
    """
    path = path or design_path()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run in a generated project, or set MLSD_DESIGN") from None
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, expected the fields of a design")
    try:
        return Design.model_validate(content)
    except ValidationError as error:
        lines = (f"{path}: {line}" for problem in error.errors() for line in _found(problem))
        raise UserError("\n".join(lines)) from None
