"""Stacks side by side, commands cut short and clocks that jump: each command finds its own stack (5.31)."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.releases.records import Model
from mlsd.delivery.target import other
from mlsd.design.design import Design
from mlsd.loadtest import drills
from mlsd.local import processes, stack, status
from mlsd.local.target import process_name
from support.miniature import Miniature, first_free_port
from support.waiting import within

pytestmark = pytest.mark.slow


@pytest.fixture
def second(quick_design: Design, tmp_path: Path) -> Iterator[Miniature]:
    found = Miniature(quick_design, Home(tmp_path / "second"))
    yield found
    processes.stop_all(found.home, grace_s=1.0)


def test_each_command_finds_the_stack_of_its_own_folder(
    miniature: Miniature, second: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shell without the variable, or with the other stack's, `down` would have cut that one off."""
    miniature.up()
    first_url = miniature.ports.edge_url
    elsewhere = first_free_port()
    monkeypatch.setenv("MLSD_PORT", str(elsewhere))
    second.up()
    monkeypatch.setenv("MLSD_PORT", first_url.rpartition(":")[2])
    with pytest.raises(
        UserError, match=rf"MLSD_PORT: found .*, expected {elsewhere}, where the stack of .*second runs"
    ):
        status.status(second.design, second.home)
    assert stack.down(second.home).passed
    monkeypatch.delenv("MLSD_PORT")
    assert httpx.get(f"{first_url}/readyz", timeout=10).status_code == 200
    said = {check.name: check.passed for check in status.status(miniature.design, miniature.home).checks}
    assert said["envoy"] and said["through the edge"]
    monkeypatch.setenv("MLSD_PORT", first_url.rpartition(":")[2])
    stopped = {check.name: check.measured for check in status.status(second.design, second.home).checks}
    assert stopped["through the edge"] == "stopped"  # though the first one's edge answers there
    monkeypatch.delenv("MLSD_PORT")
    stack.down(miniature.home)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first_url}/readyz", timeout=10)


def test_a_clock_that_jumps_hides_no_process(miniature: Miniature) -> None:
    """Start times are counted from the boot, and that moves with the clock."""
    miniature.up()
    before = processes.running(miniature.home)
    for path in miniature.home.run.glob("*.pid"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"created": content["created"] - 7200}))
    assert processes.running(miniature.home) == before
    stranger = miniature.home.run / "slot-b.pid"
    stranger.write_text(json.dumps({"pid": before["slot-a"], "created": 0.0}))
    assert processes.find(miniature.home, "slot-b") is None


def test_up_waits_for_a_server_that_was_left_loading(miniature: Miniature, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started it was killed; it needs longer than an edge does."""
    monkeypatch.setattr(stack, "EDGE_S", 0.5)
    miniature.limits[1] = {"sleep_at_start": 3}
    release = miniature.ledger.bootstrap(Model(1, "one" * 8, "ranking_v1", "test"), miniature.design.digest, "test")
    miniature.ledger.assign_slot(release.id, "a")
    argv, env = miniature._launch("a", miniature.ports.a, release, False)
    log, _ = processes._prepare(miniature.home, process_name("a"))
    processes._launch(miniature.home, process_name("a"), argv, env, log)
    assert within(20, lambda: miniature.target.runs("a"))
    miniature.up()
    assert miniature.rank().status_code == 200


@pytest.mark.parametrize("swaps", [0, 1, 2])
def test_a_drill_that_is_cut_short_leaves_the_champion_live(miniature: Miniature, swaps: int) -> None:
    miniature.up()
    ledger, target = miniature.ledger, miniature.target
    champion = ledger.champion()
    assert champion is not None and champion.slot is not None
    previous = ledger.add(Model(2, "two" * 8, "ranking_v1", "test"), miniature.design.digest, "test", "")
    mover = drills.Swapper(target, ledger, champion.slot)  # type: ignore[arg-type]
    for release in [previous, champion][:swaps]:
        mover.swap(release)
    mover.back(champion)
    live = ledger.get(champion.id).slot
    assert live in {"a", "b"}
    assert miniature.rank().json()["model_version"] == 1
    assert target.runs(live) and not target.runs(other(live))  # type: ignore[arg-type]


def test_a_rate_too_low_for_a_drill_is_refused_at_once(miniature: Miniature) -> None:
    with pytest.raises(UserError, match=r"rps: found 2, expected 3\.3 or more for 10000 requests"):
        drills.swap(miniature.design, miniature.home, miniature.target, rps=2)
