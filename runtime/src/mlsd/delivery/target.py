"""What a release needs from the place it runs in: two slots, and the edge in front of them."""

from typing import Protocol

from mlsd.delivery.edge.routing import Router, Slot
from mlsd.delivery.releases.records import Release


class DeploymentTarget(Protocol):
    """The embedded stack provides this with processes; on a cluster the rollout controller does the same work."""

    @property
    def router(self) -> Router:
        """The edge."""

    def start(self, slot: Slot, release: Release, *, allow_faults: bool, fallback: bool = False) -> None:
        """Start a release in a slot; it answers when this returns, and gets no traffic yet.

        Args:
            slot: where.
            release: what.
            allow_faults: it can be made sick.
            fallback: popular items will do, there is no model: do not wait until it is ready.

        Raises:
            UserError: it did not become ready; nothing of it is left.
        """

    def stop(self, slot: Slot) -> None:
        """End what runs in a slot; requests in flight are answered."""

    def runs(self, slot: Slot) -> bool:
        """Whether the slot's process lives."""

    def plant(self, slot: Slot, *, slow_ms: float = 0.0, invert: bool = False) -> None:
        """Make the release in a slot sick; it was started with `allow_faults`."""


def other(slot: Slot) -> Slot:
    """The slot that is not this one."""
    return "b" if slot == "a" else "a"
