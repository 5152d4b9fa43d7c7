"""Tables on disk."""

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data.storage import TABLE_NAMES, digest, load_tables, save_tables
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables


def test_tables_come_back_as_they_were(world: Tables, home: Home, problem: Problem) -> None:
    save_tables(home, world)
    again = load_tables(home)
    for name in TABLE_NAMES:
        old, new = getattr(world, name), getattr(again, name)
        assert list(old.columns) == list(new.columns)
        assert [str(t) for t in old.dtypes] == [str(t) for t in new.dtypes]
        assert old.drop(columns="categories", errors="ignore").equals(new.drop(columns="categories", errors="ignore"))
    assert [list(c) for c in again.items["categories"]] == list(world.items["categories"])


def test_one_changed_value_changes_the_digest(world: Tables, home: Home) -> None:
    save_tables(home, world)
    before = digest(home)
    world.users.assign(country="ZZ").to_parquet(home.data / "users.parquet", index=False)
    assert digest(home) != before


@pytest.mark.parametrize("content", [None, b"", b"PAR1 torn"])
def test_a_missing_or_torn_table_says_what_to_do(world: Tables, home: Home, content: bytes | None) -> None:
    save_tables(home, world)
    path = home.data / "items.parquet"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"items\.parquet: .*run `mlsd data`"):
        load_tables(home)
