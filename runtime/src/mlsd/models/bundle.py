"""A model bundle: a folder with `manifest.json` and one model file. Digests are checked before anything is parsed."""

import hashlib
import json
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlsd.core.errors import UserError
from mlsd.core.home import replacing
from mlsd.design.components import MODEL_FAMILIES, one_of
from mlsd.evaluation.bins import Bins
from mlsd.evaluation.calibration import Calibration

MAX_BYTES = 512 * 2**20
"""Of one file of a bundle; 10,000 trees of 31 leaves are 35 MB."""
Export = Literal["model.onnx", "model.int8.onnx"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ModelRefused(UserError):  # noqa: N818 - reads as what happened
    """A model that must not be used: damaged, altered, of an unknown kind, or not fit for its features."""


class Manifest(BaseModel):
    """What a model is, what it was trained on and what it may be fed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    objective: str
    feature_names: list[str]
    feature_service: str
    user_columns: list[str]
    item_columns: list[str]
    model_file: str
    model_sha256: Sha256
    exports: dict[Export, Sha256] = {}
    calibration: Calibration
    created_at: datetime
    train_window: tuple[datetime, datetime]
    tables_digest: str
    design_digest: str
    code_version: str
    pack_sha256: Sha256 | Literal[""] = ""
    """Of the pack's sources; empty in bundles of before they were kept."""
    metrics: dict[str, Finite]
    reference: dict[str, Bins]

    @model_validator(mode="after")
    def _file_belongs_to_family(self) -> Self:
        if self.family not in MODEL_FAMILIES:
            raise ValueError(f"family: found {self.family!r}, expected {one_of(MODEL_FAMILIES, self.family)}")
        expected = MODEL_FAMILIES[self.family].file
        if self.model_file != expected:
            raise ValueError(f"model_file: found {self.model_file!r}, expected {expected!r}")
        return self


def sha256(content: bytes) -> str:
    """Sixty-four hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def save_bundle(
    folder: Path, manifest: Manifest, model_text: str, exports: Mapping[Export, bytes] | None = None
) -> str:
    """Write a bundle; the manifest comes last, so a half-written bundle has none.

    Args:
        folder: where to; made if absent.
        manifest: names and digests of the other files.
        model_text: the model.
        exports: the same model in other formats, as far as the manifest names them.

    Returns:
        The digest of the bundle: sha256 of `manifest.json`, which holds the others' own.

    Raises:
        ModelRefused: a content is not the one the manifest was made for.
    """
    contents: dict[str, bytes] = {manifest.model_file: model_text.encode()}
    contents.update((exports or {}).items())
    wanted: dict[str, str] = {manifest.model_file: manifest.model_sha256}
    wanted.update(manifest.exports.items())
    if {name: sha256(content) for name, content in contents.items()} != wanted:
        raise ModelRefused(f"{folder}: the files' sha256 differ from their manifest's")
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
    for name, content in (*contents.items(), ("manifest.json", text.encode())):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    return sha256(text.encode())


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror or error}; a bundle needs this file") from None
    raise ModelRefused(f"{path}: {found.st_size} bytes; a file of at most {MAX_BYTES} is expected, not read")


def _verified(path: Path, expected: str) -> bytes:
    content = _read(path)
    if (found := sha256(content)) != expected:
        raise ModelRefused(
            f"{path}: sha256 {found[:12]}..., expected {expected[:12]}...; damaged or altered, not loaded"
        )
    return content


def read_bundle(folder: Path, digest: str | None) -> tuple[Manifest, str, str]:
    """Read a bundle after its digests agree; `digest` None trusts the manifest as it lies.

    Returns:
        The manifest, the model's text, the digest of the bundle.

    Raises:
        ModelRefused: a file is missing, damaged, altered or of an unknown kind.
    """
    path = folder / "manifest.json"
    content = _read(path) if digest is None else _verified(path, digest)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise ModelRefused(f"{path}: {field}: {first['msg']}; not loaded") from None
    model = _verified(folder / manifest.model_file, manifest.model_sha256)
    try:
        return manifest, model.decode(), sha256(content)
    except UnicodeDecodeError:
        path = folder / manifest.model_file
        raise ModelRefused(f"{path}: not a text; models are read as text, never unpickled") from None


def read_export(folder: Path, manifest: Manifest, name: Export) -> bytes:
    """The model in another format, verified.

    Raises:
        ModelRefused: the bundle has none, or it is damaged or altered.
    """
    if name not in manifest.exports:
        raise ModelRefused(f"{folder}: this bundle has no {name}")
    return _verified(folder / name, manifest.exports[name])
