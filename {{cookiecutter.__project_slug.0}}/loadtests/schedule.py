"""When each request is due, and what it says: fixed before the first one is sent."""

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

SEED = 7


def arrivals(options: Any) -> Iterator[float]:
    """Intended starts, seconds: evenly spaced or (`--poisson`) as independent users come, drawn ahead from one seed.

    Between `--spike-from` and `--spike-to` of the measured time the rate is `--spike-factor` times as high.
    """
    draw, warmup = random.Random(SEED), options.warmup
    edges = (0.0, warmup + options.spike_from, warmup + options.spike_to, warmup + options.seconds)
    for (start, stop), factor in zip(pairwise(edges), (1.0, options.spike_factor, 1.0), strict=True):
        rate = options.rps * factor
        if not options.poisson:
            yield from (start + k / rate for k in range(round((stop - start) * rate)))
            continue
        now = start + draw.expovariate(rate)
        while now < stop:
            yield now
            now += draw.expovariate(rate)


def read_traffic(path: Path, *, users_only: bool) -> list[tuple[bytes, dict[str, str]]]:
    """Bodies to send and their headers, one per line of the file; `users_only` leaves the candidates out."""
    requests = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            content = json.loads(line)
            user = str(content["user_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no request ({error}); run `mlsd data` again") from None
        if users_only:
            content.pop("candidates", None)
        body = json.dumps(content).encode() if users_only else line
        requests.append((body, {"content-type": "application/json", "x-user-id": user}))
    return requests
