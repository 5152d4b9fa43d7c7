"""A user's own files: read through a mapping, or refused with file, row, column, found and expected."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data import ingest
from mlsd.data.mapped import hold_back, read_tables
from mlsd.design.design import Design
from mlsd.design.sources import effective_design, resolve
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from support.paths import RUNTIME
from support.ratings import START, small


def read(design: Design, files: Path) -> Any:
    return read_tables(resolve(small(design), files))


def test_a_folder_picks_the_mapping_that_fits(design: Design, files: Path) -> None:
    found = resolve(design, files)
    assert (found.data.source, found.data.path) == ("movielens", str(files))
    assert found.max_age_h == design.data.mappings["movielens"].max_age_h
    assert resolve(design, None) == design


def test_a_rating_is_an_engagement_and_unrated_films_are_shown_too(design: Design, files: Path) -> None:
    tables = read(design, files)
    ratings = pd.read_csv(files / "ratings.csv")
    assert len(tables.engagements) == len(ratings)
    assert set(tables.users["user_id"]) == set(ratings["userId"])
    assert len(tables.items) == 80
    joined = tables.engagements.dropna(subset=["impression_id"])
    assert (joined["value"] >= 4.0).all()
    positive = tables.impressions["impression_id"].isin(joined["impression_id"])
    per_request = positive.groupby(tables.impressions["request_id"]).agg(["sum", "size"])
    assert (per_request["sum"] >= 1).all()
    assert (per_request["size"] - per_request["sum"]).max() == 10


def test_what_is_sampled_was_known_and_not_rated_so_far(design: Design, files: Path) -> None:
    tables = read(design, files)
    rows = tables.impressions.merge(tables.items[["item_id", "created_at"]], on="item_id")
    assert (rows["created_at"] < rows["at"]).all()
    engaged = tables.engagements.merge(tables.impressions, on=["user_id", "item_id"], suffixes=("_e", ""))
    sampled = engaged[engaged["impression_id_e"].isna()]
    assert (sampled["at_e"].dt.floor("D") > sampled["at"].dt.floor("D")).all()


def test_requests_are_in_order_of_time_and_the_same_each_time(design: Design, files: Path) -> None:
    tables, again = read(design, files), read(design, files)
    assert tables.impressions["at"].is_monotonic_increasing
    assert tables.impressions["impression_id"].is_monotonic_increasing
    pd.testing.assert_frame_equal(tables.impressions, again.impressions)
    pd.testing.assert_frame_equal(tables.engagements, again.engagements)


def test_an_earlier_request_does_not_change_when_the_file_grows(design: Design, files: Path) -> None:
    before = read(design, files).impressions
    path = files / "ratings.csv"
    path.write_text(path.read_text() + f"1,3,5.0,{START + 61 * 86400}\n77,4,5.0,{START + 61 * 86400}\n")
    after = read(design, files).impressions
    pd.testing.assert_frame_equal(before, after.iloc[: len(before)])


def test_the_newest_requests_are_held_back(design: Design, files: Path) -> None:
    tables = read(design, files)
    past, live = hold_back(tables, 0.1)
    requests = tables.impressions["request_id"].nunique()
    assert live.impressions["request_id"].nunique() == pytest.approx(0.1 * requests, abs=2)
    assert past.impressions["at"].max() < live.impressions["at"].min()
    assert past.engagements["at"].max() < live.impressions["at"].min()
    assert (past.items["created_at"] < live.impressions["at"].min()).all()
    for name in ("users", "items", "impressions", "engagements"):
        assert len(getattr(past, name)) + len(getattr(live, name)) == len(getattr(tables, name))
    assert len(hold_back(tables, 0.0)[1].impressions) == 0


def test_the_source_in_use_is_remembered(design: Design, files: Path, problem: Problem, home: Home) -> None:
    declared = small(design)
    assert effective_design(declared, home) == declared
    result = ingest.run(Context.of(declared, home, problem), files)
    assert result.passed, result.checks
    again = effective_design(declared, home)
    assert (again.data.source, again.data.path) == ("movielens", str(files))
    (home.data / "source.json").write_text('{"source": "gone", "path": null}')
    with pytest.raises(UserError, match=r"source 'gone' is not in design\.yaml any more"):
        effective_design(declared, home)
    (home.data / "source.json").write_text("{")
    with pytest.raises(UserError, match="run `mlsd data` again"):
        effective_design(declared, home)


def spoil(files: Path, name: str, old: str, new: str) -> None:
    path = files / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "ratings.csv",
            "movieId",
            "filmId",
            "ratings.csv: found no column 'movieId', expected it; found userId, filmId",
        ),
        (
            "ratings.csv",
            "timestamp\n1,",
            "timestamp\nx,",
            "ratings.csv: row 1: column 'userId': found 'x', expected a whole",
        ),
        (
            "ratings.csv",
            "timestamp\n1,",
            "timestamp\n1.5,",
            "row 1: column 'userId': found 1.5, expected a whole number",
        ),
        ("ratings.csv", "timestamp\n1,", "timestamp\n1,9999,5.0,1500000000\n1,", "item_id: row"),
        ("ratings.csv", ",15", ",x15", "column 'timestamp': found 'x15"),
        ("ratings.csv", "timestamp\n1,", "timestamp\n1,2,99.0,1500000001\n1,", "engagements.value: row"),
        ("movies.csv", "\n1,", "\n0,", "items.item_id: row"),
        ("movies.csv", "Drama|Comedy", "", "column 'genres': found nan, expected a value"),
    ],
)
def test_a_defect_in_a_file_is_named(
    design: Design, problem: Problem, files: Path, name: str, old: str, new: str, message: str
) -> None:
    spoil(files, name, old, new)
    mapped = resolve(small(design), files)
    with pytest.raises(UserError) as caught:
        problem.contract(mapped).check(read_tables(mapped))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, expected a header line and rows"),
        (b"userId,movieId,rating,timestamp\n", "found no rows, expected at least 1"),
        (b"\xff\xfe\x00bad", "not readable"),
        (b'a,b\n"1,2\n3,4,5,6\n', "ratings.csv"),
    ],
)
def test_an_empty_or_broken_file_is_named(design: Design, files: Path, content: bytes, message: str) -> None:
    (files / "ratings.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"ratings\.csv") as caught:
        read(design, files)
    assert message in str(caught.value)


def test_a_missing_file_or_folder_is_named(design: Design, files: Path) -> None:
    with pytest.raises(UserError, match="found no such folder"):
        resolve(design, files / "nowhere")
    (files / "movies.csv").unlink()
    with pytest.raises(UserError, match=r"expected movielens: movies\.csv, ratings\.csv"):
        resolve(design, files)
    named = design.model_copy(update={"data": design.data.model_copy(update={"source": "movielens"})})
    with pytest.raises(UserError, match=r"movies\.csv: not found; data\.mappings\.movielens expects it"):
        resolve(named, files)
    with pytest.raises(UserError, match=r"data\.path: found nothing"):
        resolve(named, None)


def iso(design: Design, files: Path, zone: str) -> tuple[Design, Path]:
    """The same ratings as Parquet and CSV with ISO times."""
    frame = pd.read_csv(files / "ratings.csv")
    times = pd.to_datetime(frame["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S") + zone
    frame.assign(timestamp=times).to_csv(files / "ratings.csv", index=False)
    table = design.data.mappings["movielens"].engagements.model_dump() | {"time_unit": "iso"}
    return small(design, engagements=table), files


def test_iso_times_are_read_and_naive_ones_refused(design: Design, files: Path) -> None:
    seconds = read(design, files).engagements
    zoned, folder = iso(design, files, "+00:00")
    pd.testing.assert_frame_equal(read_tables(resolve(zoned, folder)).engagements, seconds)
    spoil(files, "ratings.csv", "+00:00", "")
    with pytest.raises(UserError, match=r"row 1: column 'timestamp': .*expected a time with its zone"):
        read_tables(resolve(zoned, folder))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_parquet_is_read_too(design: Design, files: Path, zone: str | None) -> None:
    seconds = read(design, files).engagements
    frame = pd.read_csv(files / "ratings.csv")
    times = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame["timestamp"] = times.dt.tz_convert(zone)
    if zone is None:
        frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    frame.to_parquet(files / "ratings.parquet")
    table = design.data.mappings["movielens"].engagements.model_dump() | {"file": "ratings.parquet", "time_unit": "iso"}
    mapped = resolve(small(design, engagements=table), files)
    if zone is None:
        with pytest.raises(UserError, match="found naive times, expected a time zone"):
            read_tables(mapped)
    else:
        pd.testing.assert_frame_equal(read_tables(mapped).engagements, seconds)


def test_a_mapping_that_maps_too_little_is_named(design: Design, files: Path) -> None:
    table = design.data.mappings["movielens"].items.model_dump() | {"columns": {"title": "title"}}
    with pytest.raises(UserError, match="found no 'item_id', expected it mapped"):
        read_tables(resolve(small(design, items=table), files))
    table["columns"] = {"item_id": "movieId", "name": "title"}
    with pytest.raises(UserError, match="found 'name', expected some of item_id, title"):
        read_tables(resolve(small(design, items=table), files))


def test_movielens_itself(design: Design, problem: Problem) -> None:
    """The 100,836 ratings of ml-latest-small, where they are at hand."""
    beside = RUNTIME.parents[1] / "shared/data/ml-latest-small"
    folder = Path(os.environ.get("MLSD_MOVIELENS") or beside)
    if not (folder / "ratings.csv").is_file():
        pytest.skip(f"{folder}: no ratings.csv; set MLSD_MOVIELENS to the folder of ml-latest-small")
    mapped = resolve(design, folder)
    tables = read_tables(mapped)
    problem.contract(mapped).check(tables)
    assert len(tables.engagements) == 100_836
    assert len(tables.users) == 610
    sizes = tables.impressions.groupby("request_id").size()
    negatives = mapped.data.mappings["movielens"].sampled_negatives
    assert len(sizes) > 3000
    assert (sizes > negatives).mean() > 0.95
