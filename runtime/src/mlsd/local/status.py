"""What is live, what it can go back to, and what each process of the stack says of itself."""

from collections.abc import Mapping
from typing import cast

import httpx
from pydantic import JsonValue

from mlsd.core import clock
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.edge.routing import READY_PATH, Slot
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Release
from mlsd.design.design import Design
from mlsd.local import envoy, processes
from mlsd.local.ports import HOST, Ports, ports_of
from mlsd.local.stack import HOOKS
from mlsd.local.target import process_name, served

ASK_S = 2.0
MAX_REASON = 300  # characters of a reason


def _why_not(url: str) -> str:
    """Why whoever listens there is not ready, in its own words; empty when it is."""
    try:
        with httpx.Client(trust_env=False, timeout=ASK_S) as client:
            answer = client.get(url)
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"
    return "" if answer.is_success else f"{answer.status_code} {' '.join(answer.text.split())[:MAX_REASON]}"


def _check(name: str, pid: int | None, url: str) -> Check:
    why = _why_not(url) if pid is not None else ""
    said = "stopped" if pid is None else f"pid {pid}, {f'not ready: {why}' if why else 'ready'}"
    return Check(name=name, designed="ready", measured=said, passed=pid is not None and not why)


def _edge(ports: Ports, *, runs: bool) -> Check:
    """Where no edge runs nobody is asked: another stack may listen there."""
    why = _why_not(f"{ports.edge_url}{READY_PATH}") if runs else "stopped"
    return Check(name="through the edge", designed="ready", measured=why or "ready", passed=not why)


def _checks(home: Home, champion: Release | None, running: Mapping[str, int]) -> list[Check]:
    """Of each process that must run, and of the way that a request takes."""
    ports = ports_of(home)
    places = {envoy.NAME: f"http://{HOST}:{ports.admin}/ready", HOOKS: f"http://{HOST}:{ports.hooks}/livez"}
    if champion and champion.slot:
        slot = cast("Slot", champion.slot)
        places[process_name(slot)] = f"http://{HOST}:{ports.slot(slot)}{READY_PATH}"
    return [
        *(_check(name, running.get(name), url) for name, url in places.items()),
        _edge(ports, runs=envoy.NAME in running),
    ]


def _served(home: Home, champion: Release | None) -> dict[str, JsonValue] | None:
    """What `$MLSD_RELEASE` of a model server of the champion says; the registry is not asked."""
    if champion is None:
        return None
    folder = home.model_folder(champion.model_version, champion.model_digest)
    return served(champion, folder).model_dump()


def status(design: Design, home: Home) -> StepResult:
    """What is live, what it can go back to, which processes run and are ready."""
    ledger = Ledger(home.releases_db)
    champion, previous = ledger.champion(), ledger.previous(design.delivery.keep_previous)
    running = processes.running(home)
    live = f"{champion.name} since {champion.since:%Y-%m-%d %H:%M}" if champion else "nothing"
    back = ", ".join(release.name for release in previous) or "nothing"
    return StepResult(
        step="status",
        summary=f"live: {live}; can go back to: {back}",
        checks=_checks(home, champion, running),
        details={
            "champion": _served(home, champion),
            "processes": dict(running),
            "releases": [f"{r.id}: model {r.model_version}, {r.stage}" for r in ledger.releases()],
        },
        at=clock.now(),
    )
