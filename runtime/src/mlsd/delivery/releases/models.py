"""Which model a release pins: looked up in the registry once, by version, never by alias afterwards."""

import logging
from pathlib import Path
from typing import Protocol

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Model, Release
from mlsd.design.design import Design

LOGGER = logging.getLogger("mlsd")
FETCH_S = 15.0  # of the 30 s in which a server must be ready; importing MLflow takes 4 of them


class Models(Protocol):
    """What a rollout asks of the registry."""

    def challenger(self) -> int | None:
        """The version that waits to be released."""

    def describe(self, version: int) -> Model:
        """What a release of that version pins."""

    def folder(self, release: Release) -> Path:
        """Where a release's model lies; fetched if need and registry be."""

    def is_cached(self, release: Release) -> bool:
        """Whether a good copy of a release's model lies there; without one it answers with the popular items."""

    def mirror(self, ledger: Ledger, keep: int, refused: int | None) -> str:
        """Repeat in the registry what the ledger says; returns what came of it, never raises for a dead registry.

        Args:
            ledger: the truth.
            keep: how many previous releases count.
            refused: a version that a gate said no to: it is no challenger any more.
        """


class RegistryModels:
    """Models of the MLflow registry."""

    def __init__(self, design: Design, home: Home) -> None:
        """Look up models of this design in this state folder."""
        self._design, self._home = design, home
        self._not_given: set[int] = set()

    def challenger(self) -> int | None:
        """The version with the alias `challenger`."""
        from mlsd.registry import registry

        entries = registry.versions(self._home, self._design)
        return next((entry.version for entry in entries if "challenger" in entry.aliases), None)

    def describe(self, version: int) -> Model:
        """Digest and pins from the model's own manifest, fetched and verified.

        Raises:
            UserError: no such version, or its digest does not match.
        """
        from mlsd.models.bundle import ModelRefused, read_bundle

        try:
            manifest, _, digest = read_bundle(self._local(version) or self._fetched(version), None)
        except ModelRefused as error:
            LOGGER.warning("%s; asking the registry", error)
            manifest, _, digest = read_bundle(self._fetched(version), None)
        return Model(version, digest, manifest.feature_service, manifest.code_version)

    def _local(self, version: int) -> Path | None:
        """The only local copy of a version: training leaves one, and asking the registry takes four seconds more."""
        copies = list(self._home.models.glob(f"{version}-*"))
        return copies[0] if len(copies) == 1 else None

    def _fetched(self, version: int) -> Path:
        from mlsd.registry import registry

        return registry.fetch(self._home, self._design, version)

    def _place(self, release: Release) -> Path:
        return self._home.model_folder(release.model_version, release.model_digest)

    def is_cached(self, release: Release) -> bool:
        """A good copy serves whether the registry answers or not."""
        from mlsd.registry.registry import is_good

        return is_good(self._place(release), release.model_digest)

    def folder(self, release: Release) -> Path:
        """The local copy; one that is missing or damaged is fetched, unless the registry does not give it in time."""
        from mlsd.registry.fetch import fetch_bundle

        if release.model_version not in self._not_given and not self.is_cached(release):
            try:
                fetch_bundle(release.model_version, release.model_digest, FETCH_S)
            except UserError as error:
                self._not_given.add(release.model_version)  # a server start asks twice, and has 30 s
                LOGGER.warning("no good copy of model %d here: %s", release.model_version, error)
        return self._place(release)

    def mirror(self, ledger: Ledger, keep: int, refused: int | None) -> str:
        """Set champion and previous; the alias challenger goes when its version has been live or was refused."""
        from mlsd.registry import registry

        champion, previous = ledger.champion(), ledger.previous(keep)
        ended = ("champion", "previous", "rolled_back")
        done = {release.model_version for release in ledger.releases() if release.stage in ended} | {refused}
        try:
            before = previous[0].model_version if previous else None
            live = champion.model_version if champion else None
            registry.set_aliases(self._home, self._design, champion=live, previous=before)
            if (challenger := self.challenger()) is not None and challenger in done:
                registry.drop_alias(self._home, self._design, "challenger")
        except (UserError, OSError) as error:
            LOGGER.warning("the registry's aliases lag behind the ledger: %s", error)
            return f"not mirrored: {error}"
        return "mirrored"
