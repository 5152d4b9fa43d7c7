"""Gates of a rollout: pure functions from counts to a verdict. No traffic is never a pass."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["pass", "fail", "inconclusive"]
# One-sided exact binomial test. Surely worse than allowed: fail at once. Perhaps worse: keep looking.
SURE, PERHAPS = 0.01, 0.05
MIN_BAD = 2  # a single answer condemns nobody
EARLY = 20  # pairs from which a rank correlation or a PSI may fail before the full sample is there
SIGMAS = 3.0
EARLY_PSI_FACTOR = 2.0


@dataclass(frozen=True)
class Gate:
    """One design number and what was measured, with the sample behind it; `bad`: a bad answer was among it."""

    name: str
    designed: str
    measured: str
    verdict: Verdict
    samples: int
    bad: bool = False


def binomial_tail(bad: int, total: int, rate: float) -> float:
    """Probability of `bad` or more among `total` when each is bad with probability `rate` (exact)."""
    if bad <= total * rate:
        return 1.0
    if rate <= 0.0:
        return 0.0
    from scipy.stats import binom

    return float(binom.sf(bad - 1, total, rate))


def share_gate(name: str, answers: tuple[int, int], control: tuple[int, int], most: float, minimum: int) -> Gate:
    """Share of bad answers: errors, or slow ones.

    Judged against what the design allows or what the champion shows in the same time, whichever is more: a stall of
    the shared machine is not the candidate's fault (the canary judgement of Spinnaker's Kayenta compares like this).
    Looking again and again makes one false alarm per 100 looks at exactly the allowed rate; well below it, none.

    Args:
        name: what is counted.
        answers: bad and all answers of the candidate.
        control: bad and all answers of the champion meanwhile.
        most: allowed share.
        minimum: answers that a pass needs.
    """
    bad, total = answers
    allowed = max(most, control[0] / control[1] if control[1] else 0.0)
    chance = binomial_tail(bad, total, allowed)
    verdict: Verdict = "inconclusive"
    if bad >= MIN_BAD and chance < SURE:
        verdict = "fail"
    elif total >= minimum and chance >= PERHAPS:
        verdict = "pass"
    return Gate(name, f"<= {most:g}", f"{bad} of {total}", verdict, total, bad=bad > 0)


def correlation_gate(correlations: Sequence[float], least: float, minimum: int) -> Gate:
    """Mean Spearman correlation of the candidate's order with the champion's, over the same requests."""
    n = len(correlations)
    mean = float(np.mean(correlations)) if n else 0.0
    error = float(np.std(correlations, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    verdict: Verdict = "inconclusive"
    if n >= minimum:
        verdict = "pass" if mean >= least else "fail"
    elif n >= EARLY and mean + SIGMAS * error < least:
        verdict = "fail"
    measured = f"{mean:.3f} over {n} pairs" if n else "no pair"
    return Gate("rank correlation", f">= {least:g}", measured, verdict, n, bad=n > 0 and mean < least)


def psi_gate(psi: float, pairs: int, most: float, minimum: int) -> Gate:
    """Population stability index of the candidate's scores against the champion's."""
    verdict: Verdict = "inconclusive"
    if pairs >= minimum:
        verdict = "pass" if psi <= most else "fail"
    elif pairs >= EARLY and psi > EARLY_PSI_FACTOR * most:
        verdict = "fail"
    return Gate("score PSI", f"<= {most:g}", f"{psi:.3f}", verdict, pairs, bad=pairs >= EARLY and psi > most)


def overall(gates: Iterable[Gate]) -> Verdict:
    """One failed gate fails; all passed pass; no gate is inconclusive."""
    verdicts = {gate.verdict for gate in gates}
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts == {"pass"} else "inconclusive"
