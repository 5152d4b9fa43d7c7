"""Parts that come in kinds, by the names that designs and manifests call them. A new kind is a module and a line here.

Modules are named, not imported: designs and manifests are validated without LightGBM or a client of Redis.
"""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mlsd.core.errors import UserError


@dataclass(frozen=True)
class Family:
    """A model family; `parse` and `training` are `module:attribute`.

    file: the model's text in a bundle.
    native: name of the engine that defines the scores, see `mlsd.models.engines.base.Engine`.
    parse: (text, threads) -> that engine.
    training: a `mlsd.training.families.TrainingFamily`.
    compiles: trees, which lleaves turns into machine code.
    """

    file: str
    native: str
    parse: str
    training: str
    compiles: bool = False


MODEL_FAMILIES: dict[str, Family] = {
    "logistic_regression": Family(
        file="weights.json",
        native="linear",
        parse="mlsd.models.engines.linear:parse",
        training="mlsd.training.logistic_regression:FAMILY",
    ),
    "boosted_trees": Family(
        file="model.txt",
        native="lightgbm",
        parse="mlsd.models.engines.native:parse",
        training="mlsd.training.boosted_trees:FAMILY",
        compiles=True,
    ),
}
"""From the simplest to the most capable: the order in which they are fitted and shown."""


ONLINE_STORES: dict[str, str] = {
    "sqlite": "mlsd.features.online_stores.sqlite:SqliteOnlineStore",
    "redis": "mlsd.features.online_stores.redis_store:RedisOnlineStore",
}
"""What `features.online_store` of the design may name: a `mlsd.features.online_stores.base.OnlineStore`."""


ENGINES: dict[str, str] = {
    "lleaves": "mlsd.models.engines.compiled:open_engine",
    "onnx": "mlsd.models.engines.onnx:open_engine",
    "onnx_int8": "mlsd.models.engines.onnx:open_engine",
}
"""What scores a model beside its family's native engine: (name, folder of the bundle, manifest, home) -> an engine."""

ENGINE_SETTINGS = ("auto", "lightgbm", "remote")
"""What `serving.engine` may say beside these: the fastest equal one, the native one, one in another process."""


def one_of(registry: Collection[str], name: str) -> str:
    """What was expected instead of a name that is none: all that are, the nearest last."""
    nearest = get_close_matches(name, registry, n=1, cutoff=0.5)
    return f"one of {', '.join(registry)}" + (f", nearest {nearest[0]!r}" if nearest else "")


def known_store(name: str) -> str:
    """The name of an online store, if it is one.

    Raises:
        ValueError: it is none; the message lists those there are.
    """
    if name not in ONLINE_STORES:
        raise ValueError(one_of(ONLINE_STORES, name))
    return name


def known_engine(name: str) -> str:
    """What `serving.engine` says, if it can.

    Raises:
        ValueError: there is no such engine; the message lists those there are.
    """
    if name not in (choices := (*ENGINE_SETTINGS, *ENGINES)):
        raise ValueError(one_of(choices, name))
    return name


def family(name: str) -> Family:
    """The family of a manifest.

    Raises:
        UserError: there is none of that name; the message lists those there are.
    """
    if name not in MODEL_FAMILIES:
        raise UserError(f"model family: found {name!r}, expected {one_of(MODEL_FAMILIES, name)}")
    return MODEL_FAMILIES[name]


def load(target: str) -> Any:
    """What `module:attribute` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
