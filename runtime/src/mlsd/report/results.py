"""What the steps left in the state folder, in the order of the six boxes of the design."""

from dataclasses import dataclass

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import StepResult


@dataclass(frozen=True)
class Box:
    """One of the six steps of the design, and the commands that carry it out, each with the words for it."""

    number: int
    title: str
    question: str
    steps: dict[str, str]


BOXES = (
    Box(
        1,
        "Requirements and constraints",
        "How much, how fast, and what is it for?",
        {"plan": "The design adds up", "plan_measured": "Replicas from what was measured"},
    ),
    Box(2, "The machine-learning problem", "What is predicted, and when is the answer known?", {}),
    Box(
        3,
        "Data and features",
        "Is the data what it should be, and did no value come from the future?",
        {"data": "The contract holds", "features": "One set of features for training and serving"},
    ),
    Box(
        4,
        "Model and training",
        "Is the model better than the simplest thing, surely?",
        {"train": "Judged by the gates"},
    ),
    Box(
        5,
        "Serving and delivery",
        "Does it answer in time, and can a bad release hurt?",
        {
            "up": "The stack runs",
            "load": "Load, open loop",
            "load_spike": "Load with a spike",
            "load_soak": "Load over a long time",
            "load_knee": "How much it can take",
            "drill_swap": "Releases swapped under load",
            "drill_sigkill": "A worker killed under load",
            "drill_sigterm": "A worker shut down under load",
            "release": "A challenger becomes champion",
            "release_invert": "A challenger with inverted scores",
            "release_slow": "A challenger that answers too late",
            "rollback": "Back to the previous release",
        },
    ),
    Box(
        6,
        "Monitoring and iteration",
        "Is a change seen, and does the loop close?",
        {
            "monitor": "Normal traffic",
            "load_shifted": "Load, shifted traffic",
            "monitor_shifted": "Shifted traffic",
            "retrain_triggered": "The hook's run",
            "retrain": "Training on the new slice",
            "release_retrained": "The retrained model becomes champion",
        },
    ),
)
OWN = "report"


def load_results(home: Home) -> dict[str, StepResult]:
    """Results by step, those of the six boxes first and in their order, then any other.

    Raises:
        UserError: a result is damaged.
    """
    found: dict[str, StepResult] = {}
    for path in sorted(home.results.glob("*.json")):
        try:
            result = StepResult.model_validate_json(path.read_bytes())
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not a result of a step ({reason}); delete it, then run the step again") from None
        found[result.step] = result
    found.pop(OWN, None)
    known = [step for box in BOXES for step in box.steps]
    order = [*(step for step in known if step in found), *sorted(set(found) - set(known))]
    return {step: found[step] for step in order}
