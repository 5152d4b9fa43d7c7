"""The address of Redis: checked, and its password in no message and no file of ours."""

from pathlib import Path

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.address import REDIS_URL
from mlsd.features.online_stores.base import online_store
from mlsd.features.repository.store import open_store
from support.redis_rows import on_redis


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://:secret@host:port/0", "redis://host/x"])
def test_an_address_that_is_not_one_is_refused_without_its_password(
    url: str, tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REDIS_URL, url)
    with pytest.raises(UserError, match=r"MLSD_REDIS_URL: found .*expected redis") as refused:
        online_store(on_redis(design), Home(tmp_path))
    assert "secret" not in str(refused.value)


def test_the_file_that_feast_is_configured_by_holds_no_password(
    tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REDIS_URL, "rediss://me:p%40ss@cache.example:7000/3")
    store = open_store(on_redis(design), Home(tmp_path))
    expected = "cache.example:7000,db=3,socket_timeout=10,socket_connect_timeout=5,ssl=true"
    assert store.config.online_store.connection_string == f"{expected},username=me,password=p@ss"
    written = (tmp_path / "feast" / "feature_store.yaml").read_text()
    assert expected in written
    assert "p@ss" not in written
    monkeypatch.setenv(REDIS_URL, "redis://:a,b@cache.example")
    with pytest.raises(UserError, match="a comma"):
        open_store(on_redis(design), Home(tmp_path))


def test_a_design_with_redis_needs_its_address_and_one_with_sqlite_does_not_look_at_it(
    tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REDIS_URL, raising=False)
    with pytest.raises(UserError, match=r"MLSD_REDIS_URL: not set, expected redis.*features\.online_store"):
        online_store(on_redis(design), Home(tmp_path))
    monkeypatch.setenv(REDIS_URL, "http://nowhere")
    assert online_store(design, Home(tmp_path)).feast()[0]["type"] == "sqlite"
