"""Steps 1-2: `design.yaml`, typed and validated. Every budget, gate, alert and rollout step is read from here."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from mlsd.core.errors import UserError
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


def _found(problem: Any) -> str:
    if problem["type"] == "missing":
        return "found nothing, expected a value"
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if isinstance(problem["input"], (dict, list)):
        return rule
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
        lines = (f"{path}: {'.'.join(map(str, p['loc']))}: {_found(p)}" for p in error.errors())
        raise UserError("\n".join(lines)) from None
