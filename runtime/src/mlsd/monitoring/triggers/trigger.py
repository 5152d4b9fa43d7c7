"""From alerts to actions: pure, so that the same alerts always decide the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Action = Literal["retrain", "rollback"]
Kind = Literal["drift", "quality", "slice", "business", "age"]

# A drop of quality is the model's: back to the release before it, and a new one. The rest needs newer data only.
ACTIONS: Mapping[Kind, tuple[Action, ...]] = {
    "drift": ("retrain",),
    "quality": ("rollback", "retrain"),
    "slice": ("retrain",),
    "business": ("retrain",),
    "age": ("retrain",),
}


@dataclass(frozen=True)
class Alert:
    """Something that moved beyond its limit."""

    kind: Kind
    subject: str
    message: str


@dataclass(frozen=True)
class Trigger:
    """One request for one action; `key` is the same whenever the same thing is seen in the same window."""

    key: str
    action: Action
    reason: str


def fingerprint(action: Action, release_id: int, alerts: list[Alert]) -> str:
    """Twelve hexadecimal digits of what is wrong with which release, whatever the measured values."""
    parts = [action, str(release_id), *sorted(f"{alert.kind}:{alert.subject}" for alert in alerts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def decide(
    alerts: list[Alert], release_id: int, window_start: datetime, fired: Mapping[str, datetime], cooldown: timedelta
) -> list[Trigger]:
    """Actions to ask for now; all alerts of one action make one trigger.

    Args:
        alerts: what the window showed.
        release_id: the live release.
        window_start: part of the key. The end is not: a window that is read again has grown.
        fired: action to the time it was last asked for, by the same clock as `window_start`.
        cooldown: an action asked for less than this before the window is not asked for again.
    """
    triggers = []
    order: tuple[Action, ...] = ("rollback", "retrain")
    for action in order:
        causes = [alert for alert in alerts if action in ACTIONS[alert.kind]]
        last = fired.get(action)
        if not causes or (last is not None and window_start < last + cooldown):
            continue
        key = f"{action}:{fingerprint(action, release_id, causes)}:{window_start.isoformat()}"
        triggers.append(Trigger(key, action, "; ".join(alert.message for alert in causes)[:500]))
    return triggers
