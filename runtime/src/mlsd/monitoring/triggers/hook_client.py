"""How monitoring asks the hook server for an action, and learns what became of it."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.monitoring.triggers.trigger import Trigger

DEADLINE_S = 10.0
ADDRESS, TOKEN = "hook_url", "hook_token"


def _call(home: Home, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    try:
        address, token = ((home.run / name).read_text(encoding="ascii") for name in (ADDRESS, TOKEN))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: not found; the hook server is started by `mlsd up`") from None
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, content, {"authorization": f"Bearer {token}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - our own loopback address
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise UserError(f"{address}{path}: {error.code} {HTTPStatus(error.code).phrase}: {error.read(500)!r}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{address}{path}: no answer ({error}); is the stack up? `mlsd up`") from None


def fire(home: Home, trigger: Trigger, window_end: datetime) -> dict[str, Any]:
    """Hand a trigger over; safe to repeat.

    Returns:
        The run it belongs to: run_id, status, `created` (false if it joined a run there was), triggers.

    Raises:
        UserError: the server is not there, or refused.
    """
    body = {
        "key": trigger.key,
        "reason": trigger.reason,
        "window_end": window_end.isoformat(),
        "sent_at": datetime.now(UTC).isoformat(),
    }
    return _call(home, f"/hooks/{trigger.action}", body)


def run_of(home: Home, key: str) -> dict[str, Any]:
    """The run of a key.

    Raises:
        UserError: the server is not there, or does not know the key.
    """
    return _call(home, f"/hooks/runs/{quote(key, safe=':')}", None)
