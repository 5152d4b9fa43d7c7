"""Route files: replaced whole, confirmed by Envoy, refused without harm."""

import json

import pytest

from mlsd.core.errors import UserError
from mlsd.delivery.edge import routing
from mlsd.delivery.edge.routing import Router, Traffic, route_configuration
from mlsd.delivery.releases.records import Model
from mlsd.local import envoy, processes
from support.miniature import Miniature

pytestmark = pytest.mark.slow


def test_impossible_traffic_is_refused() -> None:
    for traffic in (
        {"candidate": "a"},
        {"candidate": "b", "canary_percent": 101},
        {"candidate": "b", "mirror_percent": -1},
        {"canary_percent": 5},
    ):
        with pytest.raises(ValueError, match=r"traffic|candidate"):
            Traffic("a", **traffic)  # type: ignore[arg-type]


def test_every_route_has_a_deadline_and_the_shares_add_up() -> None:
    for percent in (0, 1, 5, 99, 100):
        traffic = Traffic("a", "b", canary_percent=percent)
        routes = route_configuration(traffic, 0.6)["virtual_hosts"][0]["routes"]
        assert all(route["route"]["timeout"] == "0.600s" for route in routes)
        assert [route["route"]["cluster"] for route in routes] == (["b"] if percent else []) + ["a", "a", "a"]


def test_flips_under_load_lose_nothing(miniature: Miniature) -> None:
    """20 changes of all traffic between two slots: 0 failed; after `apply` returns nobody gets the old version."""
    miniature.up()
    second = miniature.ledger.add(Model(2, "d", "s", "c"), "design", "test", "")
    miniature.target.start("b", second, allow_faults=False)
    router = miniature.target.router
    with miniature.load(rps=200) as load:
        for flip in range(20):
            router.apply(Traffic("b" if flip % 2 == 0 else "a"))
            assert miniature.rank("1").json()["model_version"] == (2 if flip % 2 == 0 else 1)
    assert set(load.codes) == {200}


def test_refused_routes_change_nothing(miniature: Miniature, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled field and an unknown cluster: the old routes stay, in Envoy and in the file."""
    miniature.up()
    router = miniature.target.router
    good = (miniature.home.envoy / "rds" / "routes.json").read_text()

    def misspelled(traffic: Traffic, timeout_s: float) -> dict[str, object]:
        return route_configuration(traffic, timeout_s) | {"virtual_hots": []}

    def unknown_cluster(traffic: Traffic, timeout_s: float) -> dict[str, object]:
        text = json.dumps(route_configuration(traffic, timeout_s))
        return dict(json.loads(text.replace('"cluster": "a"', '"cluster": "z"')))

    for wrong in (misspelled, unknown_cluster):
        with monkeypatch.context() as patch:
            patch.setattr(routing, "route_configuration", wrong)
            with pytest.raises(UserError, match="refused the routes"):
                router.apply(Traffic("a"))
        assert (miniature.home.envoy / "rds" / "routes.json").read_text() == good
        assert miniature.rank().status_code == 200
    router.apply(Traffic("a"))
    assert miniature.rank().status_code == 200


def test_no_envoy_is_said(miniature: Miniature) -> None:
    router = envoy.router(miniature.design, miniature.home, miniature.ports)
    assert not router.answers()
    with pytest.raises(UserError, match="run `mlsd up`"):
        router.apply(Traffic("a"))


def test_a_deleted_folder_is_noticed(miniature: Miniature, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-deleted state: Envoy watches a folder that is gone; a change says so instead of believing."""
    miniature.up()
    monkeypatch.setattr(routing, "CONFIRM_S", 0.5)
    folder = miniature.home.envoy / "rds"
    (folder / "routes.json").unlink()
    folder.rmdir()
    with pytest.raises(UserError, match="did not take new routes"):
        Router(miniature.home.envoy, f"http://127.0.0.1:{miniature.ports.admin}", 0.6).apply(Traffic("a"))
    assert miniature.rank().status_code == 200
    processes.stop(miniature.home, envoy.NAME)
    miniature.up()
    miniature.target.router.apply(Traffic("a"))
