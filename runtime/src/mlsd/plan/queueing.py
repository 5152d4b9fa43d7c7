"""A service with c servers and one queue, M/G/c: arrivals of independent users, any distribution of the service time.

Exact results exist for exponential service only. For others the wait is that of M/M/c times (1 + cs2) / 2, where cs2 is
the squared coefficient of variation of the service time (Allen and Cunneen; see Whitt, "Approximations for the GI/G/m
queue", 1993). The wait of those who wait is close to exponential, so with the probability of waiting C(c, a) of Erlang

    P(W > t) = C(c, a) exp(-t / m),    m = E[S] (1 + cs2) / (2 c (1 - rho)),    a = rate E[S],    rho = a / c

and the answer's time is W + S with the measured distribution of S.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Service:
    """What one request costs: how long it takes alone, and how long it keeps one server busy.

    Attributes:
        times_ms: answer times of a server that nobody else asks, [n], any order.
        busy_ms: mean time of one server that a request uses up; the answer's time has the network too.
        cs2: squared coefficient of variation of the busy time.
    """

    times_ms: Sequence[float]
    busy_ms: float
    cs2: float


def erlang_c(servers: int, offered: float) -> float:
    """Probability that a request waits, M/M/c with `offered` = rate x service time below `servers`."""
    blocked = 1.0  # Erlang B, by its recursion: no factorial overflows
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    rho = offered / servers
    return blocked / (1 - rho * (1 - blocked))


def load(service: Service, servers: int, rps: float) -> float:
    """Share of the servers that is busy; 1 and more: the queue grows without end."""
    return rps * service.busy_ms / 1e3 / servers


def wait_scale_ms(service: Service, servers: int, rps: float) -> float:
    """Mean wait of those who wait, m above."""
    return service.busy_ms * (1 + service.cs2) / (2 * servers * (1 - load(service, servers, rps)))


def quantile_ms(
    service: Service, servers: int, rps: float, quantile: float = 0.99, longest_wait_ms: float = math.inf
) -> float:
    """Time that this share of the answers keeps.

    Args:
        service: the measured service.
        servers: how many work side by side.
        rps: arrivals per second.
        quantile: 0.99 for p99.
        longest_wait_ms: nobody waits longer: whoever would is refused (admission control).

    Returns:
        Milliseconds; infinite when the queue grows without end and nobody is refused.
    """
    times = np.sort(np.asarray(service.times_ms, dtype=np.float64))
    if load(service, servers, rps) >= 1.0:
        return float(np.quantile(times, quantile)) + longest_wait_ms
    waiting = erlang_c(servers, rps * service.busy_ms / 1e3)
    scale = wait_scale_ms(service, servers, rps)
    low, high = 0.0, float(times[-1]) + min(longest_wait_ms, scale * math.log(1e6))
    for _ in range(60):
        middle = (low + high) / 2
        later = _later(times, middle, waiting, scale, longest_wait_ms)
        low, high = (middle, high) if later > 1 - quantile else (low, middle)
    return high


def _later(times: NDArray[np.float64], t: float, waiting: float, scale: float, longest: float) -> float:
    """P(W + S > t), the mean over the measured times of P(W > t - s)."""
    left = t - times
    beyond = np.where(left < longest, waiting * np.exp(-np.maximum(left, 0.0) / scale), 0.0)
    return float(np.mean(np.where(left < 0.0, 1.0, beyond)))


def max_rps(service: Service, servers: int, budget_ms: float, highest_load: float) -> float:
    """The highest rate at which p99 keeps the budget and the servers are not busier than `highest_load`.

    Returns:
        Requests per second; 0 when a request alone takes longer than the budget.
    """
    low, high = 0.0, highest_load * servers * 1e3 / service.busy_ms
    if quantile_ms(service, servers, 0.0) > budget_ms:
        return 0.0
    if quantile_ms(service, servers, high) <= budget_ms:
        return high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile_ms(service, servers, middle) <= budget_ms else (low, middle)
    return low
