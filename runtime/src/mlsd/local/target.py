"""The target of one machine: a model server process per slot, one Envoy in front of both."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.edge import stats
from mlsd.delivery.edge.routing import Router, Slot
from mlsd.delivery.releases.models import Models, RegistryModels
from mlsd.delivery.releases.records import Release
from mlsd.delivery.target import other
from mlsd.design.design import Design
from mlsd.local import envoy, processes
from mlsd.local.ports import HOST, Ports, require_free
from mlsd.models.release import Release as ServedRelease

READY_S = 45.0
YIELDING_READY_S = 120.0  # one that starts beside the live release takes its time, and no user waits for it
GRACE_S = 10.0
DRAIN_POLL_S = 0.02

# Arguments and added environment of the process that serves a release on a port of a slot.
Launch = Callable[[Slot, int, Release, bool], tuple[list[str], dict[str, str]]]


def process_name(slot: Slot) -> str:
    """Name of a slot's process: its pid file and its log are called so."""
    return f"slot-{slot}"


def served(release: Release, folder: Path) -> ServedRelease:
    """What a model server of this release is to be told; `folder` holds its model."""
    return ServedRelease(
        release_id=release.id,
        model_version=release.model_version,
        model_dir=str(folder),
        model_digest=release.model_digest,
    )


def model_server(design: Design, home: Home, models: Models) -> Launch:
    """How the real model server is started."""
    from mlsd.models import packs
    from mlsd.serving import launch

    def arguments(slot: Slot, port: int, release: Release, allow_faults: bool) -> tuple[list[str], dict[str, str]]:
        environment = launch.environment(home, slot, served(release, models.folder(release)), allow_faults=allow_faults)
        return launch.command(design, port, packs.name_of(packs.kept(home, models.folder(release)))), environment

    return arguments


class LocalTarget:
    """Two slots as processes."""

    def __init__(self, design: Design, home: Home, ports: Ports, launch: Launch) -> None:
        """Work on the stack of this state folder."""
        self._design, self._home, self._ports, self._launch = design, home, ports, launch
        self._router = envoy.router(design, home, ports)

    @property
    def router(self) -> Router:
        """The local Envoy's routes."""
        return self._router

    def _url(self, slot: Slot, path: str) -> str:
        return f"http://{HOST}:{self._ports.slot(slot)}{path}"

    def start(self, slot: Slot, release: Release, *, allow_faults: bool, fallback: bool = False) -> None:
        """Start a release's model server and wait until it is ready; with `fallback`, until it answers at all.

        Raises:
            UserError: the port is taken, or the server did not become ready.
        """
        port = self._ports.slot(slot)
        argv, env = self._launch(slot, port, release, allow_faults)
        self.stop(slot)
        require_free(port, f"slot {slot}")
        ready, yields = self._url(slot, "/livez" if fallback else "/readyz"), self.runs(other(slot))
        processes.start(
            self._home,
            process_name(slot),
            argv,
            env=env,
            ready_url=ready,
            timeout_s=YIELDING_READY_S if yields else READY_S,
            yields=yields,
        )

    def stop(self, slot: Slot) -> None:
        """Wait until the edge has nothing in flight there, then end the process."""
        if self.runs(slot):
            self._drain(slot)
        processes.stop(self._home, process_name(slot), GRACE_S)

    def _drain(self, slot: Slot) -> None:
        deadline = time.monotonic() + envoy.route_timeout_s(self._design) + 1.0
        while time.monotonic() < deadline and self.router.answers():
            found = stats.read(self.router, self._design.latency.service_ms)
            if not found[slot].active and not found[f"{slot}_shadow"].active:
                return
            time.sleep(DRAIN_POLL_S)

    def runs(self, slot: Slot) -> bool:
        """Whether the slot's process lives."""
        return processes.find(self._home, process_name(slot)) is not None

    def plant(self, slot: Slot, *, slow_ms: float = 0.0, invert: bool = False) -> None:
        """Make the release in a slot sick.

        Raises:
            UserError: it does not allow that.
        """
        faults = {"slow_ms": slow_ms, "invert": invert}
        try:
            with httpx.Client(trust_env=False, timeout=5.0) as client:
                client.put(self._url(slot, "/faults"), json=faults).raise_for_status()
        except httpx.HTTPError as error:
            raise UserError(f"slot {slot}: planting a fault failed: {error}") from None


def local_target(design: Design, home: Home, ports: Ports) -> tuple[LocalTarget, RegistryModels]:
    """The target of this machine with the real model server, and the registry its models come from."""
    models = RegistryModels(design, home)
    return LocalTarget(design, home, ports, model_server(design, home, models)), models
