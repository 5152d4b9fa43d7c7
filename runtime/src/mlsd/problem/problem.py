"""What a problem pack provides. The runtime knows a pack only through this interface, by the name in `design.yaml`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from mlsd.core.errors import UserError
from mlsd.problem.packs import known_packs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlsd.design.design import Design
    from mlsd.problem.contract import Contract
    from mlsd.problem.tables import Tables


@dataclass(frozen=True)
class BusinessMetric:
    """What `success.metric` may name: it is measured in `unit` per shown item, and never reaches `highest`.

    `of_ratings`: the engagements of a mapped source, which have a value but no seconds, say it too.
    """

    unit: str
    highest: float
    of_ratings: bool = True


class Problem(Protocol):
    """One problem: its contract, labels, features and traffic."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of the model matrix, in order."""

    @property
    def user_columns(self) -> tuple[str, ...]:
        """Stored values of one user, in the order `assemble` expects."""

    @property
    def item_columns(self) -> tuple[str, ...]:
        """Stored values of one item, in the order `assemble` expects."""

    @property
    def user_views(self) -> Mapping[str, tuple[str, ...]]:
        """Feast view name to its user columns; the views a request reads for its user."""

    @property
    def user_defaults(self) -> NDArray[np.float32]:
        """Value of each user column when the store has none or it is too old, [U]."""

    @property
    def item_defaults(self) -> NDArray[np.float32]:
        """Value of each item column for an unknown item, [I]."""

    @property
    def feature_repo(self) -> Path:
        """Folder of the Feast definitions."""

    @property
    def business_metrics(self) -> Mapping[str, BusinessMetric]:
        """By the names that `success.metric` may have; `gains` computes each."""

    def contract(self, design: Design) -> Contract:
        """Schema and invariants of the canonical tables."""

    def synthesise(self, design: Design) -> Tables:
        """A world with planted truth, the same for the same seed."""

    def labels(self, tables: Tables, design: Design, now: datetime) -> pd.DataFrame:
        """Matured labelled rows: row_id, request_id, user_id, item_id, device, at, label (0 or 1)."""

    def gains(self, labelled: pd.DataFrame, tables: Tables, design: Design, now: datetime) -> NDArray[np.float64]:
        """What each shown item brought of `success.metric`, in its unit, [n]; `labelled`, n rows, is from `labels`."""

    def feature_tables(self, tables: Tables, design: Design, now: datetime) -> dict[str, pd.DataFrame]:
        """Per Feast view: entity key, event_timestamp, columns; a row at t has seen only events before t <= `now`."""

    def context(self, at: NDArray[np.datetime64], device: NDArray[np.str_]) -> NDArray[np.float32]:
        """Values known only at the request: [n, K] from times (UTC) and devices."""

    def assemble(
        self, user: NDArray[np.float32], items: NDArray[np.float32], context: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Model matrix [n, F] from user [n or 1, U], items [n, I] and context [n or 1, K]; batch and request alike."""

    def interactions(self, user: NDArray[np.float32]) -> float:
        """How many interactions the user row [U] stands for; decides cold start."""

    def popularity(self, items: NDArray[np.float32]) -> NDArray[np.float64]:
        """How popular each item is, in [0, 1], [n] from [n, I]; the simplest ranking, which a model has to beat."""

    def cold_start(self, items: NDArray[np.float32], user: NDArray[np.float32]) -> NDArray[np.float64]:
        """Fallback score in [0, 1] per item, [n] from [n, I], from what is known of a user [U] without interactions.

        For `user_defaults` it is `popularity`, and no item's score depends on the others.
        """

    def traffic(self, tables: Tables, design: Design, *, shifted: bool) -> pd.DataFrame:
        """Requests to send: user_id, candidates (list of item ids), device; `shifted` plants a change of the mix."""

    def outcomes(self, served: pd.DataFrame, tables: Tables, design: Design) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Impressions and engagements that follow from served lists.

        Columns of `served`: request_id, user_id, item_id, position, device, at.
        """


def load_problem(name: str) -> Problem:
    """Load the pack that `design.yaml: problem` names: `<name>.problem.PROBLEM`.

    Raises:
        UserError: there is no such pack.
    """
    try:
        module = importlib.import_module(f"{name}.problem")
    except ModuleNotFoundError as error:
        if error.name not in {name, f"{name}.problem"}:
            raise
        packs = ", ".join(known_packs())
        raise UserError(f"design.yaml: problem: found {name!r}, expected one of {packs}") from None
    return cast("Problem", module.PROBLEM)
