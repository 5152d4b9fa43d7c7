"""The model registry: versions with digests in MLflow. Aliases mirror the releases ledger, they decide nothing."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.models.bundle import ModelRefused, read_bundle
from mlsd.registry.mlflow_store import client

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "bundle"
DIGEST_TAG = "mlsd.digest"
WAIT_S = 10


@dataclass(frozen=True)
class Registered:
    """One version of the model, as the registry knows it."""

    version: int
    digest: str
    family: str
    objective: str
    aliases: tuple[str, ...]


def register(home: Home, design: Design, bundle: Path, run_id: str, source: str | None = None) -> int:
    """Make the bundle that the run logged a new version of the model named like the design.

    Args:
        home: the state folder.
        design: gives the name.
        bundle: the bundle's folder; its digest is verified and kept as a tag.
        run_id: the MLflow run that has it among its artefacts.
        source: where MLflow's own flavour of the model lies; default: the bundle.
    """
    manifest, _, digest = read_bundle(bundle, None)
    tags = {
        DIGEST_TAG: digest,
        "mlsd.family": manifest.family,
        "mlsd.objective": manifest.objective,
        "mlsd.feature_service": manifest.feature_service,
        "mlsd.tables_digest": manifest.tables_digest,
        "mlsd.design_digest": manifest.design_digest,
        "mlsd.code_version": manifest.code_version,
    }
    with client(home) as mlflow:
        if not mlflow.search_registered_models(f"name = '{design.name}'"):
            mlflow.create_registered_model(design.name)
        place = source or f"{mlflow.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
        made = mlflow.create_model_version(design.name, place, run_id, tags=tags, await_creation_for=WAIT_S)
        return int(made.version)


def _entry(mlflow: Any, name: str, version: int) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        numbers = sorted(int(v.version) for v in mlflow.search_model_versions(f"name = '{name}'"))
        known = ", ".join(map(str, numbers))
        raise UserError(f"model {name}: version {version} is not registered; known: {known or 'none'}") from None


def digest_of(home: Home, design: Design, version: int) -> str:
    """Digest of a version's bundle, 64 hexadecimal digits.

    Raises:
        UserError: no such version, or the registry does not answer.
    """
    with client(home) as mlflow:
        return str(_entry(mlflow, design.name, version).tags[DIGEST_TAG])


def fetch(home: Home, design: Design, version: int) -> Path:
    """Copy a version's bundle to `models/<version>-<digest>`; a good copy there is used as is, a damaged one replaced.

    Raises:
        ModelRefused: what the registry holds differs from its digest.
        UserError: no such version, or the registry does not answer.
    """
    with client(home) as mlflow:
        entry = _entry(mlflow, design.name, version)
        digest = str(entry.tags[DIGEST_TAG])
        place = home.model_folder(version, digest)
        if is_good(place, digest):
            return place
        home.models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.models, prefix=".fetch-") as folder:
            copied = Path(mlflow.download_artifacts(entry.run_id, ARTIFACT, folder))
            read_bundle(copied, digest)
            shutil.copytree(copied, Path(folder) / "complete")
            _put(Path(folder) / "complete", place, digest)
    return place


def is_good(place: Path, digest: str) -> bool:
    """Whether a whole, unaltered bundle lies there."""
    try:
        read_bundle(place, digest)
    except ModelRefused:
        return False
    return True


def _put(complete: Path, place: Path, digest: str) -> None:
    """Rename a verified copy to its place, unless another process was faster."""
    if place.exists() and not is_good(place, digest):
        place.rename(complete.parent / "damaged")
    try:
        complete.rename(place)
    except OSError:
        read_bundle(place, digest)


def set_aliases(
    home: Home,
    design: Design,
    *,
    champion: int | None = None,
    challenger: int | None = None,
    previous: int | None = None,
) -> None:
    """Set the aliases that are given; an alias whose version is not given stays as it is."""
    wanted = {"champion": champion, "challenger": challenger, "previous": previous}
    with client(home) as mlflow:
        for alias, version in wanted.items():
            if version is not None:
                mlflow.set_registered_model_alias(design.name, alias, str(version))


def drop_alias(home: Home, design: Design, alias: str) -> None:
    """Remove an alias; nothing happens if there is none."""
    with client(home) as mlflow:
        if alias in mlflow.get_registered_model(design.name).aliases:
            mlflow.delete_registered_model_alias(design.name, alias)


def versions(home: Home, design: Design) -> list[Registered]:
    """Every version, the oldest first."""
    with client(home) as mlflow:
        if not mlflow.search_registered_models(f"name = '{design.name}'"):
            return []
        aliases = mlflow.get_registered_model(design.name).aliases
        found = mlflow.search_model_versions(f"name = '{design.name}'")
        return sorted(
            (
                Registered(
                    version=int(entry.version),
                    digest=str(entry.tags[DIGEST_TAG]),
                    family=str(entry.tags["mlsd.family"]),
                    objective=str(entry.tags["mlsd.objective"]),
                    aliases=tuple(sorted(a for a, v in aliases.items() if str(v) == str(entry.version))),
                )
                for entry in found
            ),
            key=lambda entry: entry.version,
        )
