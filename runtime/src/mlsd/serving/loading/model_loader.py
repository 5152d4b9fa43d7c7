"""Keeps a serving process supplied with its model: at once if it can be had, else again and again; then the faster one.

Without a model the process answers with the popular items and says that it is not ready.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from mlsd.core.errors import UserError
from mlsd.features.snapshot import Snapshot
from mlsd.models.bundle import ModelRefused
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.release import Release
from mlsd.models.scoring import Bundle
from mlsd.models.selection import COMPILED, choose, compile_engine
from mlsd.problem.context import Context
from mlsd.registry.fetch import fetch_bundle
from mlsd.serving.loading.bundle_loading import check, load_model

LOGGER = logging.getLogger("mlsd.serving")
RETRY_S = 5.0
FETCH_EVERY = 6  # of the tries: asking the registry starts a process
FETCH_S = 20.0
NICENESS = 15  # of the compiler: answers come first


class ModelLoader:
    """One release's model; `set_model` is called with a bundle that has scored a batch, from this thread or another."""

    def __init__(
        self,
        release: Release,
        context: Context,
        snapshot: Snapshot,
        set_model: Callable[[Bundle], None],
    ) -> None:
        """Load the model now if possible; whatever is left to do goes on in the background."""
        self._release, self._context, self._snapshot, self._set_model = release, context, snapshot, set_model
        self._design, self._home = context.design, context.home
        self.not_ready_reason = ""
        """Why there is no model; empty once there is one."""
        self._stopped = threading.Event()
        bundle = self._try()
        if bundle is None or self._improves(bundle):
            threading.Thread(target=self._run, args=(bundle,), name="model", daemon=True).start()

    def stop(self) -> None:
        """Try no more; what is being compiled is finished by its own process."""
        self._stopped.set()

    @property
    def _folder(self) -> Path:
        return Path(self._release.model_dir)

    def _improves(self, bundle: Bundle) -> bool:
        return choose(self._design.serving, bundle.manifest, self._folder) == COMPILED != bundle.engine

    def _try(self) -> Bundle | None:
        try:
            bundle = load_model(self._release, self._context, self._snapshot)
        except (ModelRefused, EngineUnavailable) as error:
            why = f"model refused: {error}".replace(f"{self._home.root}/", "")  # callers need not learn where it lies
            if why != self.not_ready_reason:
                LOGGER.error("model refused: %s; release %d is not ready", error, self._release.release_id)
            self.not_ready_reason = why
            return None
        self._set_model(bundle)
        self.not_ready_reason = ""
        LOGGER.info("model %d is scored by %s", self._release.model_version, bundle.engine)
        return bundle

    def _try_again(self) -> Bundle | None:
        try:
            return self._try()
        except Exception:  # what nobody foresaw must not be the last try
            LOGGER.exception("model not loaded; tried again in %.0f s", RETRY_S)
            return None

    def _run(self, bundle: Bundle | None) -> None:
        tries = 0
        while bundle is None:
            if tries % FETCH_EVERY == 0:
                self._fetch()
            tries += 1
            bundle = self._try_again()
            if bundle is None and self._stopped.wait(RETRY_S):
                return
        if self._improves(bundle):
            self._compile()

    def _fetch(self) -> None:
        """Ask the registry for what is missing or damaged here."""
        try:
            fetch_bundle(self._release.model_version, self._release.model_digest, FETCH_S)
        except (UserError, OSError) as error:
            LOGGER.warning("the registry gave no model: %s", error)

    def _compile(self) -> None:
        """Swap the compiled engine in, once it equals the native one."""
        try:
            digest = self._release.model_digest
            bundle = compile_engine(self._folder, digest, self._home, niceness=NICENESS)
            check(bundle, self._design, self._context.problem, self._snapshot)
        except UserError as error:
            LOGGER.warning("not compiled, scored by the native engine: %s", error)
            return
        self._set_model(bundle)
        LOGGER.info("model %d is scored by %s", self._release.model_version, bundle.engine)
