"""Traffic by release over time, as the report draws it."""

import time
from dataclasses import dataclass, field

from pydantic import JsonValue

from mlsd.delivery.edge.routing import Traffic


@dataclass
class Timeline:
    """One entry per change of the traffic."""

    champion: int
    candidate: int
    began: float = field(default_factory=time.time)
    entries: list[JsonValue] = field(default_factory=list)

    def note(self, traffic: Traffic, stage: str) -> None:
        """Add what is in force from now on."""
        at = time.time()
        self.entries.append(
            {
                "t": round(at - self.began, 3),
                "at": at,
                "stage": stage,
                "champion_pct": 100 - traffic.canary_percent,
                "canary_pct": traffic.canary_percent,
                "mirror_pct": traffic.mirror_percent,
                "champion": self.champion,
                "release": self.candidate,
            }
        )
