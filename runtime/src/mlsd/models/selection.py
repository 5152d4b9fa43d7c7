"""Which engine scores a model, and that engine loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsd.design.components import ENGINES, family, load
from mlsd.models.bundle import read_bundle
from mlsd.models.engines import benchmark, compiled
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.scoring import Bundle, fitted, load_scorer

if TYPE_CHECKING:
    from pathlib import Path

    from mlsd.core.home import Home
    from mlsd.design.online_sections import Serving
    from mlsd.models.bundle import Manifest
    from mlsd.models.engines.base import Engine

COMPILED = compiled.Compiled.name


def choose(settings: Serving, manifest: Manifest, folder: Path) -> str:
    """Name of the engine that the design asks for; of `auto`, the fastest that training found equal to the native one.

    A linear model has nothing to compile: its native engine stands in for both `lightgbm` and `lleaves`.
    """
    if settings.remote is not None:
        return settings.remote.protocol
    if settings.engine in ENGINES and settings.engine != COMPILED:
        return settings.engine
    found_family = family(manifest.family)
    native = found_family.native
    if settings.engine == "lightgbm" or not found_family.compiles:
        return native
    if settings.engine == "auto" and (found := benchmark.read(folder)) and found.best in (native, *ENGINES):
        return found.best
    return COMPILED


def load_engine(name: str, folder: Path, digest: str, home: Home, *, threads: int = 1) -> Bundle:
    """A model by exactly this engine, as a prediction record names it; its scores are those of the server, to the bit.

    `threads` is for the native engine, see `load_scorer`.

    Raises:
        EngineUnavailable: it cannot score this model here (for `lleaves`: not compiled yet).
        ModelRefused: the bundle is damaged, altered, or fits nothing known.
    """
    manifest, text, found = read_bundle(folder, digest)
    engine: Engine
    if name == family(manifest.family).native:
        engine = load_scorer(manifest.family, text, threads=threads)
    elif name in ENGINES:
        engine = load(ENGINES[name])(name, folder, manifest, home)
    else:
        raise EngineUnavailable(f"{folder}: engine {name!r} does not score a {manifest.family} model here")
    return fitted(folder, Bundle(manifest, found, engine))


def load_now(
    settings: Serving, folder: Path, digest: str, home: Home, deadline_s: float, *, threads: int = 1
) -> Bundle:
    """The engine of choice, or the native one until the trees are compiled (and for ever where they cannot be).

    Args:
        settings: the design's choice.
        folder: the bundle.
        digest: of its manifest.
        home: where compiled objects lie.
        deadline_s: of one call to a remote engine.
        threads: of the native engine.

    Raises:
        ModelRefused: the bundle is damaged, altered, or fits nothing known.
        EngineUnavailable: the one engine that was asked for is not there.
    """
    manifest, _, found = read_bundle(folder, digest)
    name = choose(settings, manifest, folder)
    if settings.remote is not None:
        from mlsd.models.engines.remote import connect

        return Bundle(manifest, found, connect(settings.remote, tuple(manifest.feature_names), deadline_s))
    try:
        return load_engine(name, folder, digest, home, threads=threads)
    except EngineUnavailable:
        if name != COMPILED:
            raise
        return load_engine(family(manifest.family).native, folder, digest, home, threads=threads)


def compile_engine(folder: Path, digest: str, home: Home, *, niceness: int = 0) -> Bundle:
    """The compiled engine; waits for the compiler where it must.

    Raises:
        EngineUnavailable: these trees cannot be compiled here.
        ModelRefused: the bundle is damaged or altered.
    """
    manifest, _, _ = read_bundle(folder, digest)
    if not family(manifest.family).compiles:
        raise EngineUnavailable(f"{folder}: a {manifest.family} model has nothing to compile")
    try:
        return load_engine(COMPILED, folder, digest, home)
    except EngineUnavailable:
        compiled.make(folder / manifest.model_file, manifest.model_sha256, home.engines, niceness=niceness)
        return load_engine(COMPILED, folder, digest, home)
