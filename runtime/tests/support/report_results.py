"""Results as the steps leave them, for the tests of the report: plausible numbers, every chart has its details."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult

AT = datetime(2026, 3, 4, tzinfo=UTC)


def _candidate(name: str, ndcg: float, lift: float, **more: Any) -> dict[str, Any]:
    slices = {
        "weekend": {
            "requests": 312,
            "ndcg10": ndcg - 0.02,
            "difference": lift,
            "difference_ci": [lift - 0.02, lift + 0.02],
        },
        "new_user": {"requests": 88, "ndcg10": ndcg - 0.06, "difference": lift / 2, "difference_ci": [0.0, lift]},
        "new_item": {"requests": 12, "ndcg10": None, "difference": None, "difference_ci": None},
    }
    row = {
        "name": name,
        "family": name,
        "objective": "binary",
        "ndcg10": ndcg,
        "ndcg10_ci": [ndcg - 0.012, ndcg + 0.012],
    }
    row |= {"lift": lift, "lift_ci": [lift - 0.017, lift + 0.017], "auc": 0.5 + lift * 1.6, "log_loss": 0.19 - lift / 4}
    return row | {"ece": 0.006, "p99_ms": 2.4, "slices": slices, "passed": True, "reason": ""} | more


def train() -> dict[str, Any]:
    bins = np.linspace(0.01, 0.18, 10)
    return {
        "champion": 1,
        "challenger": 2,
        "champion_candidate": "boosted_trees",
        "challenger_candidate": "boosted_trees_listwise",
        "leaderboard": [
            _candidate("popularity", 0.289, 0.0, passed=False, p99_ms=0.02),
            _candidate("logistic_regression", 0.382, 0.093, p99_ms=0.05),
            _candidate("boosted_trees", 0.418, 0.129),
            _candidate("boosted_trees_listwise", 0.436, 0.147),
        ],
        "reliability": {
            "boosted_trees": {
                "predicted": bins.tolist(),
                "observed": (bins * 1.05 - 0.002).tolist(),
                "rows": [900] * 10,
            },
            "boosted_trees_listwise": {
                "predicted": bins.tolist(),
                "observed": (bins * 0.93 + 0.004).tolist(),
                "rows": [900] * 10,
            },
        },
    }


def _latencies(p50: float, p99: float) -> dict[str, float]:
    return {"count": 720, "p50_ms": p50, "p99_ms": p99, "max_ms": p99 * 1.6}


def load() -> dict[str, Any]:
    hops = {"edge": _latencies(0.8, 2.1), "features": _latencies(0.9, 3.4), "inference": _latencies(3.1, 8.8)}
    hops["post"] = _latencies(0.3, 0.9)
    return {"sent": 720, "errors": 0, "total": _latencies(7.9, 19.2), "hops": hops, "rps": 60}


def rollout(release: int, fault: str | None = None) -> dict[str, Any]:
    steps = [(0.0, "candidate", 0, 0), (6.2, "shadow", 0, 100)]
    if fault != "invert":
        steps += [(11.8, "canary", 5, 0)]
    if fault is None:
        steps += [(21.5, "canary", 25, 0), (24.1, "canary", 100, 0), (26.3, "champion", 0, 0)]
    else:
        steps.append((steps[-1][0] + 2.9, "canary", 0, 0))
    names = ("t", "stage", "canary_pct", "mirror_pct")
    gate = {"stage": "shadow", "percent": 100, "name": "rank correlation", "designed": ">= 0.3"}
    rejected = (
        {"measured": "-0.82 +- 0.02", "verdict": "fail"}
        if fault == "invert"
        else {"measured": "0.81 +- 0.02", "verdict": "pass"}
    )
    return {
        "release": release,
        "champion_before": 1 if release == 2 else 2,
        "model_version": 2,
        "outcome": "rejected" if fault else "champion",
        "fault": fault,
        "timeline": [dict(zip(names, step, strict=True)) for step in steps],
        "gates": [
            gate | rejected,
            {
                "stage": "canary",
                "percent": 5,
                "name": "slow answers",
                "designed": "<= 0.01",
                "measured": "0 of 41",
                "verdict": "pass",
            },
        ],
        "seconds_to_safe": 1.7 if fault else None,
        "load": load(),
    }


def monitored(shift: float) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    names = ["item_age_h", "item_ctr", "user_ctr", "score", "item_freshness", "hour"] + [
        f"feature_{k:02}" for k in range(40)
    ]
    rows = []
    for index, name in enumerate(names):
        psi = float(generator.gamma(1.2, 0.012)) + (shift / (1 + index) if index in {0, 1, 3, 4, 7, 9} else 0.0)
        critical = index < 4
        verdict = "alert" if psi > 0.2 and critical else "warning" if psi > 0.1 else "ok"
        rows.append(
            {
                "name": name,
                "psi": psi,
                "kl": psi / 2,
                "ks": psi / 3,
                "ks_p": 0.4,
                "n": 1018,
                "training_psi": psi + 0.7,
                "critical": critical,
                "verdict": verdict,
            }
        )
    slices = {
        name: {
            "requests": count,
            "share": count / 1018,
            "top_score": 0.21,
            "top_score_p10": 0.08,
            "top_score_p90": 0.39,
        }
        for name, count in (("all", 1018), ("weekend", 0), ("new_user", 131))
    }
    current = (np.linspace(1.0, 1.0 + shift, 10) * 1000).tolist()
    return {
        "features": rows,
        "thresholds": {"alert": 0.2, "warning": 0.1},
        "score": {"edges": [0.1] * 9, "reference": [1000] * 10, "current": current},
        "slices": slices,
        "triggers": [],
    }


def _check(name: str, designed: str, measured: str, passed: bool = True) -> Check:
    return Check(name=name, designed=designed, measured=measured, passed=passed)


def results() -> list[StepResult]:
    """One result per step of a whole loop."""
    plan = {
        "capacity": {"replicas": 23, "formula": "10000 rps x 0.05 s / (32 x 0.7) = 23", "monthly_usd": 1576.6},
        "families": [
            {"family": "boosted trees 150 x 31", "fits": True, "why": "2.3 of 50 ms"},
            {"family": "text cross-encoder", "fits": False, "why": "3,300 ms is over the budget of 50 ms"},
        ],
    }
    data = {
        "source": "synthetic",
        "counts": {"users": 2000, "items": 3000, "impressions": 252000},
        "label_rate": 0.0493,
    }
    safe = _check("first bad answer to all traffic back", "<= 10 s", "1.70 s")
    rows: list[tuple[str, float, dict[str, Any], list[Check]]] = [
        (
            "plan",
            0.02,
            plan,
            [_check("hop budget", "<= 200 ms", "130 ms"), _check("in flight per replica", "<= 22.4", "21.7")],
        ),
        ("data", 7.1, data, [_check("data contract", "27 rules", "all hold"), _check("rows", ">= 2,000", "252,000")]),
        (
            "features",
            21.4,
            {},
            [
                _check("rows through the join", "243,000 in", "243,000 out"),
                _check("online equals offline", "200 users, to the bit", "200 users"),
            ],
        ),
        (
            "train",
            41.9,
            train(),
            [
                _check("lift over popularity", "> 0", "+0.129 [+0.112, +0.146]"),
                _check("calibration error", "<= 0.05", "0.006"),
            ],
        ),
        ("up", 4.4, {}, [_check("champion answers through the edge", "200", "200, release 1 (model 1)")]),
        (
            "load",
            16.2,
            load(),
            [
                _check("p99 from the schedule", "<= 150 ms", "19.20 ms"),
                _check("error rate", "<= 0.001", "0.0000 of 720"),
            ],
        ),
        (
            "release",
            29.0,
            rollout(2),
            [_check("champion", "release 2", "release 2"), _check("failed requests meanwhile", "0", "0 of 1740")],
        ),
        (
            "release_invert",
            11.5,
            rollout(3, "invert"),
            [_check("planted fault `invert` is caught in", "shadow", "shadow, 0 % of users saw it"), safe],
        ),
        (
            "release_slow",
            16.0,
            rollout(4, "slow"),
            [_check("planted fault `slow` is caught in", "canary", "canary, 5 % of users saw it"), safe],
        ),
        (
            "monitor",
            2.2,
            monitored(0.0),
            [
                _check("PSI item_age_h", "<= 0.2", "0.013 (n 1,018 against 500 requests)"),
                _check("trigger", "none", "none"),
            ],
        ),
        (
            "monitor_shifted",
            2.4,
            monitored(2.4),
            [
                _check("shift of a critical feature", "PSI > 0.2 is seen", "item_age_h 2.41, item_ctr 1.21"),
                _check("trigger", "one new run", "retrain run 4f2a9c01be77"),
            ],
        ),
        (
            "retrain_triggered",
            58.0,
            {"challenger": 3},
            [
                _check("retrain run 4f2a9c01be77", "succeeded, once", "succeeded, exit code 0, attempt 1"),
                _check("new challenger", "registered as feed-ranker", "version 3"),
            ],
        ),
        ("release_retrained", 28.1, rollout(5), [_check("champion", "release 5", "release 5")]),
    ]
    return [
        StepResult(
            step=step,
            summary=f"{step}: what it did, in one line",
            checks=checks,
            details=details,
            seconds=seconds,
            at=AT,
        )
        for step, seconds, details, checks in rows
    ]


def save_all(home: Home) -> list[StepResult]:
    """Write them where the report finds them."""
    found = results()
    for result in found:
        result.save(home)
    return found
