"""A live release with a real bundle, snapshot, ledger and feature log, for the tests of monitoring."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from mlsd.core import clock
from mlsd.core.home import Home
from mlsd.data.storage import save_tables, utc
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Model
from mlsd.design.design import Design
from mlsd.evaluation.calibration import Calibration
from mlsd.features.snapshot import write
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.models.engines.linear import Linear
from mlsd.prediction_log.framing import frame
from mlsd.prediction_log.record import Record, encode
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables

ITEMS = 600
POOL = 40
START = datetime(2026, 3, 3, 9, tzinfo=UTC)


def _bundle(problem: Problem, created_at: datetime, design: Design, pack_sha256: str) -> tuple[Manifest, str]:
    width = len(problem.feature_names)
    weights = np.zeros(width)
    weights[problem.feature_names.index("item_ctr")] = 1.0
    model = Linear(mean=[0.0] * width, scale=[1.0] * width, coefficients=weights.tolist(), intercept=-2.0)
    text = model.model_dump_json()
    manifest = Manifest(
        family="logistic_regression",
        objective="binary",
        feature_names=list(problem.feature_names),
        feature_service="ranking_v1",
        user_columns=list(problem.user_columns),
        item_columns=list(problem.item_columns),
        model_file="weights.json",
        model_sha256=sha256(text.encode()),
        calibration=Calibration(),
        created_at=created_at,
        train_window=(created_at - timedelta(days=20), created_at),
        tables_digest="0" * 12,
        design_digest=design.digest,
        code_version="test",
        pack_sha256=pack_sha256,
        metrics={},
        reference={},
    )
    return manifest, text


@dataclass
class LiveTraffic:
    """Requests from a fixed mix; `send(item_ids=...)` changes the pool, as a planted shift does."""

    home: Home
    problem: Problem
    design: Design
    pack_sha256: str = ""
    release_id: int = 0
    digest: str = ""
    sent: list[Record] = field(default_factory=list)
    at: datetime = START

    def __post_init__(self) -> None:
        clock.set_world_time(START)
        manifest, text = _bundle(self.problem, START - timedelta(days=1), self.design, self.pack_sha256)
        folder = self.home.models / "new"
        self.digest = save_bundle(folder, manifest, text)
        folder.rename(self.home.models / f"1-{self.digest[:12]}")
        model = Model(version=1, digest=self.digest, feature_service="ranking_v1", code_version="test")
        self.release_id = Ledger(self.home.releases_db).bootstrap(model, self.design.digest, "test").id
        clock.set_world_time(START + timedelta(hours=2))
        self.generator = np.random.default_rng(5)
        self.version = self._snapshot()
        self.scale = np.ones(len(self.problem.user_columns), np.float32)
        self.tables({})

    def _snapshot(self) -> str:
        """Items by rising id: the higher half is younger and more engaged with."""
        values = self.generator.gamma(2.0, 1.0, (ITEMS, len(self.problem.item_columns))).astype(np.float32)
        now_h = self.problem.context(np.array([START.replace(tzinfo=None)], "datetime64[us]"), np.array(["mobile"]))[
            0, 0
        ]
        names = list(self.problem.item_columns)
        values[:, names.index("item_created_h")] = now_h - np.linspace(600, 1, ITEMS)
        values[:, names.index("item_ctr")] = np.linspace(0.01, 0.6, ITEMS) + self.generator.normal(0, 0.02, ITEMS)
        return write(self.home, np.arange(1, ITEMS + 1), values, tuple(names), START)

    def _record(self, items: tuple[int, int], release_id: int, role: str) -> Record:
        self.at += timedelta(seconds=1)
        ids = self.generator.choice(np.arange(*items), POOL, replace=False)
        moment = np.array([self.at.replace(tzinfo=None)], "datetime64[us]")
        context = self.problem.context(moment, np.array(["mobile"]))[0]
        user = self.generator.gamma(2.0, 1.0, len(self.problem.user_columns)).astype(np.float32) * self.scale
        return Record(
            request_id=f"r{(self.at - START).total_seconds():06.0f}",
            user_id=int(self.generator.integers(1, 500)),
            at=self.at,
            total_ms=5.0,
            release_id=release_id,
            model_version=1,
            model_digest=self.digest,
            engine="linear",
            role=role,
            snapshot_version=self.version,
            context=context,
            user_row=user,
            device=str(self.generator.choice(["mobile", "desktop"], p=[0.7, 0.3])),
            item_ids=ids.astype(np.int64),
            scores=self.generator.beta(2, 8, POOL),
            degraded=[],
            ages_s={},
            interactions=float(self.generator.integers(0, 40)),
        )

    def send(
        self, requests: int, items: tuple[int, int] = (1, ITEMS + 1), role: str = "live", release_id: int | None = None
    ) -> list[Record]:
        """Append requests to the log; `items` is the range that pools are drawn from."""
        records = [self._record(items, release_id or self.release_id, role) for _ in range(requests)]
        self.home.feature_log.mkdir(parents=True, exist_ok=True)
        with (self.home.feature_log / "a-1-1.log").open("ab") as log:
            for record in records:
                self.sent.append(record)
                log.write(frame(encode(record)))
        return records

    def tables(self, chances: dict[str, Any], shown: int = 8) -> None:
        """Tables with the outcomes of logged requests: request id to a function of the scores that gives chances."""
        impressions, engagements = [], []
        for record in (record for record in self.sent if record.request_id in chances):
            top = np.argsort(-record.scores)[:shown]
            liked = self.generator.random(shown) < chances[record.request_id](record.scores[top])
            for position, (k, like) in enumerate(zip(top, liked, strict=True)):
                number = len(impressions)
                row = (
                    number,
                    record.request_id,
                    record.user_id,
                    record.item_ids[k],
                    position,
                    record.device,
                    record.at,
                )
                impressions.append(row)
                if like:
                    engagements.append((number, record.user_id, record.item_ids[k], "click", 60.0, record.at))
        names = ["impression_id", "request_id", "user_id", "item_id", "position", "device", "at"]
        events = ["impression_id", "user_id", "item_id", "event", "value", "at"]
        frames = [pd.DataFrame(impressions, columns=names), pd.DataFrame(engagements, columns=events)]
        for each in frames:
            each["at"] = utc(pd.to_datetime(each["at"], utc=True).dt.tz_localize(None).to_numpy())
        empty = pd.DataFrame()
        save_tables(self.home, Tables(empty, empty, *frames))
