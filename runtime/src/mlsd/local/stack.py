"""The embedded stack: the champion's model server, Envoy in front of it, the hook server beside it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import httpx

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.edge.routing import READY_PATH, Slot, Traffic
from mlsd.delivery.recovery import recover
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.lock import exclusive
from mlsd.delivery.releases.models import Models
from mlsd.delivery.releases.records import Release
from mlsd.delivery.target import DeploymentTarget
from mlsd.design.design import Design
from mlsd.local import envoy, processes
from mlsd.local.ports import HOST, Ports, ports_of, record, require_free
from mlsd.local.target import READY_S, local_target, process_name
from mlsd.problem.context import Context
from mlsd.registry.trainings import first_champion

HOOKS = "hooks"
EDGE_S = 5.0
QUIET_S = 2.0


def _champion(design: Design, home: Home, ledger: Ledger, models: Models) -> Release:
    """The release that is live, or the first one ever: the champion of the last training."""
    live = ledger.champion()
    if live is None:
        live = ledger.bootstrap(models.describe(first_champion(home)), design.digest, "up")
    if live.slot is None:
        ledger.assign_slot(live.id, "a")
    return ledger.get(live.id)


def _require_free_ports(home: Home, ports: Ports) -> None:
    running = processes.running(home)
    wanted = {
        envoy.NAME: (ports.edge, ports.admin),
        process_name("a"): (ports.a,),
        process_name("b"): (ports.b,),
        HOOKS: (ports.hooks,),
    }
    for name, numbers in wanted.items():
        for port in () if name in running else numbers:
            require_free(port, name)


def _start_hooks(home: Home, command: Sequence[str], ports: Ports) -> None:
    if command and processes.find(home, HOOKS) is None:
        env: Mapping[str, str] = {"MLSD_HOME": str(home.root)}
        processes.start(home, HOOKS, command, env=env, ready_url=f"http://{HOST}:{ports.hooks}/livez", timeout_s=20)


def _route(design: Design, home: Home, target: DeploymentTarget, ports: Ports, slot: Slot) -> None:
    """Everyone to this slot, through Envoy, which is started where it does not run."""
    if processes.find(home, envoy.NAME) is None:
        envoy.start(design, home, ports, Traffic(slot))
    else:
        target.router.apply(Traffic(slot))


def _wait_for_edge(ports: Ports, max_s: float, *, fallback: bool) -> float:
    """Until the champion says through the edge that it is ready; with `fallback`, until it says anything."""
    began = time.monotonic()
    with httpx.Client(trust_env=False, timeout=1.0) as client:
        while time.monotonic() - began < max_s:
            try:
                answer = client.get(f"{ports.edge_url}{READY_PATH}")
                if answer.is_success or (fallback and "x-envoy-upstream-service-time" in answer.headers):
                    return time.monotonic() - began
            except httpx.HTTPError:
                pass
            time.sleep(0.02)
    raise UserError(f"no answer within {max_s:g} s at {ports.edge_url}{READY_PATH}; see logs/ and `mlsd status`")


def start(design: Design, home: Home, target: DeploymentTarget, models: Models, hooks: Sequence[str]) -> StepResult:
    """Start what does not run yet; traffic is what the ledger says.

    Args:
        design: limits and the first release's digest.
        home: the state folder.
        target: starts the champion.
        models: where the first release's model comes from.
        hooks: arguments of the hook server; empty for none.

    Raises:
        UserError: a port is taken, nothing is trained, or a process did not become ready. What this call started is
            stopped again.
    """
    began, before = time.monotonic(), processes.running(home)
    with exclusive(home):
        ports = ports_of(home)
        _require_free_ports(home, ports)
        record(home, ports)
        ledger = Ledger(home.releases_db)
        recover(ledger, target)
        champion = _champion(design, home, ledger, models)
        slot = cast("Slot", champion.slot)
        models.folder(champion)
        fallback = not models.is_cached(champion)
        loading = target.runs(slot)  # perhaps: whoever started it may have been killed since
        try:
            if not loading:
                target.start(slot, champion, allow_faults=False, fallback=fallback)
            _route(design, home, target, ports, slot)
            _wait_for_edge(ports, READY_S if loading else EDGE_S, fallback=fallback)
            _start_hooks(home, hooks, ports)
        except BaseException:
            for name in processes.running(home).keys() - before.keys():
                processes.stop(home, name, grace_s=2.0)
            raise
    return _up_result(home, champion, ports, time.monotonic() - began, fallback=fallback)


def _up_result(home: Home, champion: Release, ports: Ports, seconds: float, *, fallback: bool) -> StepResult:
    answers = "popular items only, its model is not here" if fallback else "200"
    check = Check(
        name="champion answers through the edge",
        designed="200",
        measured=f"{answers}, {champion.name}",
        passed=not fallback,
    )
    return StepResult(
        step="up",
        summary=f"POST {ports.edge_url}/rank; Envoy's admin page http://{HOST}:{ports.admin}",
        checks=[check],
        details={"processes": dict(processes.running(home)), "release": champion.id, "edge": ports.edge_url},
        seconds=seconds,
        at=clock.now(),
    )


def up(context: Context) -> StepResult:
    """Start the stack with the champion; what runs already is left alone.

    A serving mode that lives on precomputed rankings gets them first, where they are missing or too old.
    """
    from mlsd.delivery.precompute import ensure
    from mlsd.monitoring.triggers.hooks import command

    design, home = context.design, context.home
    ensure(context)

    ports = ports_of(home)
    target, models = local_target(design, home, ports)
    return start(design, home, target, models, command(ports.hooks))


def _quieten(ports: Ports) -> None:
    """Ask Envoy to take no more connections and wait for requests in flight, for a short time."""
    admin = f"http://{HOST}:{ports.admin}"
    deadline = time.monotonic() + QUIET_S
    with httpx.Client(base_url=admin, trust_env=False, timeout=0.5) as client:
        try:
            client.post("/drain_listeners")
            while time.monotonic() < deadline:
                found = client.get("/stats?filter=http.edge.downstream_rq_active$&format=json").json()["stats"]
                if not any(stat["value"] for stat in found):
                    return
                time.sleep(0.02)
        except (httpx.HTTPError, ValueError, KeyError):
            return


def require_down(home: Home, what: str) -> None:
    """Refuse what must not happen under a live release: its log would be lost, its clock would jump.

    Raises:
        UserError: a model server runs.
    """
    live = [name for name in (process_name("a"), process_name("b")) if name in processes.running(home)]
    if live:
        raise UserError(
            f"{home.root}: {what} needs a stack that is down, found {', '.join(live)}; run `mlsd down` first"
        )


def down(home: Home) -> StepResult:
    """Stop every process of the stack, the edge first; nothing runs afterwards, whatever was damaged."""
    running = processes.running(home)
    if envoy.NAME in running:
        with suppress(UserError):  # a wrong MLSD_PORT keeps nothing from being stopped
            _quieten(ports_of(home))
    stopped = processes.stop_all(home, first=[envoy.NAME])
    left = processes.running(home)
    names = ", ".join(stopped) or "nothing ran"
    check = Check(name="processes left", designed="0", measured=str(len(left)), passed=not left)
    details = {"stopped": list(stopped)}
    return StepResult(step="down", summary=f"stopped: {names}", checks=[check], details=details, at=clock.now())
