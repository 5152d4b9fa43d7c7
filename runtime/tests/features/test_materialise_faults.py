"""A materialisation that is cut short, told a wrong time, or whose watermark was lost; by real processes."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features import watermark
from mlsd.features.items import ItemStore
from mlsd.features.materialise import materialise
from mlsd.features.online_stores.base import online_store
from mlsd.features.repository.definitions import offline_folder
from mlsd.features.repository.store import apply, open_store
from mlsd.features.snapshot import current
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from support.gameday import Seen

pytestmark = pytest.mark.slow

LATER = datetime(2026, 3, 4, 6, tzinfo=UTC)
PROGRAM = """
import sys
from datetime import datetime
from pathlib import Path
import pandas as pd
from mlsd.design.design import Design
from mlsd.features.materialise import materialise
from mlsd.core.home import Home
from mlsd.problem.context import Context
from mlsd.problem.problem import load_problem
root, rows, design, end = sys.argv[1:]
tables = {name: pd.read_parquet(Path(rows) / f"{name}.parquet") for name in ("user", "interaction", "post")}
design = Design.model_validate_json(Path(design).read_text())
end = datetime.fromisoformat(end)
context = Context.of(design, Home(Path(root)), load_problem(design.problem))
materialise(context, tables, end=end, now=end)
"""
Frames = dict[str, pd.DataFrame]


@pytest.fixture
def copied(featured_home: Home, tmp_path: Path) -> Home:
    shutil.copytree(featured_home.root, tmp_path / "mlsd")
    return Home(tmp_path / "mlsd")


@pytest.fixture
def frames(featured_home: Home) -> Frames:
    """The rows of the small world, and a later one of each user and item."""
    found = {}
    for name in ("user", "interaction", "post"):
        rows = pd.read_parquet(offline_folder(featured_home) / f"{name}.parquet")
        newest = rows.groupby(rows.columns[0]).tail(1)
        moved = newest.assign(event_timestamp=pd.Timestamp(LATER) - pd.Timedelta(hours=1))
        columns = moved.select_dtypes("float32").columns
        found[name] = pd.concat([rows, moved.assign(**{column: np.float32(0.25) for column in columns})])
    return found


@pytest.mark.fault("Partial materialisation", "watermark not advanced; alert; serving uses last complete")
def test_one_that_is_killed_leaves_the_last_complete_one_and_the_next_run_repairs_it(
    copied: Home, frames: Frames, small_design: Design, problem: Problem, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, seen: Seen,
) -> None:  # fmt: skip
    (tmp_path / "rows").mkdir()
    for name, rows in frames.items():
        rows.to_parquet(tmp_path / "rows" / f"{name}.parquet", index=False, coerce_timestamps="us")
    (tmp_path / "design.json").write_text(small_design.model_dump_json())
    before, mark = current(copied), watermark.read(copied)
    assert mark
    arguments = [str(copied.root), str(tmp_path / "rows"), str(tmp_path / "design.json"), LATER.isoformat()]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
    while watermark.unfinished(copied) is None:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait(60) == -9
    assert watermark.read(copied) == mark
    assert ItemStore(copied, problem).snapshot.version == before.version == mark.snapshot
    assert watermark.unfinished(copied) == LATER
    materialise(Context.of(small_design, copied, problem), frames, end=LATER, now=LATER)
    assert f"the materialisation until {LATER.isoformat()} never ended" in caplog.text
    after = watermark.read(copied)
    assert after == watermark.Watermark(LATER, current(copied).version)
    assert watermark.unfinished(copied) is None
    assert current(copied).columns.max() == np.float32(0.25)
    reader = online_store(small_design, copied).reader(problem.user_views, timeout_s=5)
    row = reader.read(int(frames["user"]["user_id"].iloc[0]))
    assert row
    assert row.written["user"] == LATER - timedelta(hours=1)
    seen("old snapshot and watermark kept, warned at the next run, which wrote all")


@pytest.mark.fault("Materialise with end date in future", "refused")
def test_one_until_tomorrow_is_refused(
    copied: Home, frames: Frames, small_design: Design, problem: Problem, seen: Seen
) -> None:
    before = watermark.read(copied)
    with pytest.raises(UserError, match=r"materialise until 2026-03-05T.*: that is after now"):
        materialise(Context.of(small_design, copied, problem), frames, end=LATER + timedelta(days=1), now=LATER)
    assert watermark.read(copied) == before
    assert watermark.unfinished(copied) is None
    seen("refused, nothing written")


@pytest.mark.fault("`feast apply` resets watermark", "detected by age metric")
def test_a_reset_watermark_is_told_and_nothing_is_left_out(
    copied: Home, frames: Frames, small_design: Design, problem: Problem, caplog: pytest.LogCaptureFixture, seen: Seen
) -> None:
    """feast#2905; how old the served values are is a metric of its own: test_store_faults.py, stale row."""
    materialise(Context.of(small_design, copied, problem), frames, end=LATER, now=LATER)
    assert "watermark was reset" not in caplog.text
    (copied.feast / "registry.db").unlink()
    store = open_store(small_design, copied)
    apply(store, Context.of(small_design, copied, problem))
    assert store.get_feature_view("user").most_recent_end_time is None
    end = LATER + timedelta(hours=1)
    materialise(Context.of(small_design, copied, problem), frames, end=end, now=end)
    assert "Feast's watermark was reset (views user, interaction, post)" in caplog.text
    assert watermark.read(copied) == watermark.Watermark(end, current(copied).version)
    seen("told by the next run, which reads from the beginning; ages are a metric")
