"""The numbers that a director asks for, each beside what the design asked for."""

from dataclasses import dataclass

from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.report.details import Load, LoadOfRelease, Monitored, Rollout, Training, read
from mlsd.report.page import RELEASES
from mlsd.report.parts import Results


@dataclass(frozen=True)
class Number:
    """One large number, what it is, and the design beside it."""

    value: str
    label: str
    design: str
    good: bool


def _latency(design: Design, results: Results) -> list[Number]:
    load = read(Load, results.get("load"))
    if not load or not load.total.count:
        return []
    budget = design.latency.service_ms
    label = f"p99 at {load.rps:g} requests/s, open loop"
    good = load.total.p99_ms <= budget
    return [Number(f"{load.total.p99_ms:.1f} ms", label, f"design: {budget:g} ms without retrieval", good)]


def _lift(results: Results) -> list[Number]:
    training = read(Training, results.get("train"))
    if not training:
        return []
    name = training.challenger_candidate or training.champion_candidate
    candidate = next((candidate for candidate in training.leaderboard if candidate.name == name), None)
    if candidate is None:
        return []
    low, high = candidate.lift_ci
    return [
        Number(f"{candidate.lift:+.3f}", "NDCG@10 over popularity", f"95 % interval {low:+.3f} to {high:+.3f}", low > 0)
    ]


def _safety(design: Design, results: Results) -> list[Number]:
    rollouts = [read(Rollout, results.get(step)) for step in ("release_invert", "release_slow")]
    seconds = [rollout.seconds_to_safe for rollout in rollouts if rollout and rollout.seconds_to_safe is not None]
    if not seconds:
        return []
    most = design.delivery.gates.max_seconds_to_safe
    label = "first bad answer to all traffic back"
    return [Number(f"{max(seconds):.1f} s", label, f"design: at most {most:g} s", max(seconds) <= most)]


def _failed(results: Results) -> list[Number]:
    loads = [read(LoadOfRelease, results.get(step)) for step in RELEASES]
    seen = [each.load for each in loads if each]
    if not seen:
        return []
    failed, sent = sum(load.errors + load.shed for load in seen), sum(load.sent for load in seen)
    return [Number(f"{failed}", f"failed requests of {sent:,} during releases", "design: 0", failed == 0)]


def _drift(results: Results) -> list[Number]:
    shifted, normal = (read(Monitored, results.get(step)) for step in ("monitor_shifted", "monitor"))
    found = shifted or normal
    if not found or not found.features:
        return []
    worst = max((feature for feature in found.features if feature.critical), key=lambda f: f.psi, default=None)
    if worst is None:
        return []
    quiet = worst.psi <= found.thresholds.alert
    label = f"PSI of {worst.name.replace('_', ' ')}" + (" under the planted shift" if shifted else "")
    return [Number(f"{worst.psi:.2f}", label, f"alerts above {found.thresholds.alert:g}", bool(shifted) != quiet)]


def numbers(design: Design, results: Results) -> list[Number]:
    """At most five, as far as they were measured."""
    parts = (_lift(results), _latency(design, results), _failed(results), _safety(design, results), _drift(results))
    return [number for part in parts for number in part]


@dataclass(frozen=True)
class Outcome:
    """The whole page in one sentence."""

    kind: str
    text: str
    missed: list[tuple[StepResult, Check]]


def verdict(results: Results, expected: list[str]) -> Outcome:
    """What holds, what was missed, and how many of the expected steps have not run."""
    checks = [(result, check) for result in results.values() for check in result.checks]
    missed = [(result, check) for result, check in checks if not check.passed]
    waiting = [step for step in expected if step not in results]
    if missed:
        return Outcome("fail", f"{len(missed)} of {len(checks)} design numbers were missed", missed)
    if not checks:
        return Outcome("open", "Nothing has been measured yet", [])
    if waiting:
        return Outcome("open", f"All {len(checks)} design numbers measured so far hold", [])
    return Outcome("pass", f"All {len(checks)} design numbers hold", [])
