"""The `mlsd` command: argument parsing only. Every import of a step happens inside its command, to start fast."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlsd.core.result import StepResult
    from mlsd.problem.context import Context


def _plan(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.plan import measured, plan

    if args.measured:
        return measured.run(context.design, context.home)
    return plan.run(context.design, context.home)


def _data(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.data import ingest as step

    return step.run(context.declared, context.home, context.problem, args.path)


def _features(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.features import build as step

    return step.run(context.design, context.home, context.problem)


def _train(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.pipelines import training

    return training.run(context.design, context.home, context.problem, args.window_days)


def _retrain(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.pipelines import retrain

    return retrain.run(context.design, context.home, context.problem, args.window_days)


def _batch(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.delivery import precompute as step

    return step.run(context.design, context.home, context.problem)


def _up(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.local import stack

    return stack.up(context.design, context.home, context.problem)


def _down(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.local import stack

    return stack.down(context.home)


def _status(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.local import status

    return status.status(context.design, context.home)


def _load(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.loadtest import knee, load
    from mlsd.report import load_page

    design, home = context.design, context.home
    if args.find_knee:
        return load_page.write(design, home, knee.run(design, home))
    wanted = {"shape": args.shape, "shifted": args.shifted, "save_baseline": args.save_baseline}
    return load_page.write(design, home, load.run(design, home, args.seconds, args.rps, **wanted))


def _drill(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.loadtest import drills

    return drills.run(context.design, context.home, args.what, args.rps)


def _release(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.local import releases

    return releases.release(context.design, context.home, context.problem, version=args.version, fault=args.fault)


def _rollback(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.local import releases

    return releases.rollback(context.design, context.home, context.problem, reason=args.reason)


def _monitor(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.monitoring import monitor as step

    return step.run(context.design, context.home, context.problem)


def _report(context: Context, _: argparse.Namespace) -> StepResult:
    from mlsd.report import write as step

    return step.run(context.design, context.home)


def _explain(context: Context, args: argparse.Namespace) -> StepResult:
    from mlsd.serving.inference import explain

    return explain.run(context.home, context.problem, args.request_id)


def _demo(context: Context, args: argparse.Namespace) -> Iterable[StepResult]:
    from mlsd.commands import demo

    return demo.run(context, args.path)


Command = tuple[str, "Callable[[Context, argparse.Namespace], StepResult | Iterable[StepResult]]"]
COMMANDS: dict[str, Command] = {
    "plan": ("step 1-2: board line, hop budget, replicas, cost", _plan),
    "data": ("step 3: read or synthesise the tables, check the contract", _data),
    "features": ("step 3: Feast apply, materialise, point-in-time join", _features),
    "train": ("step 4: the pipeline: ladder of models, gates, registry", _train),
    "batch": ("step 5: every user's best items ahead of time, for serving_mode batch and hybrid", _batch),
    "up": ("step 5: start Envoy, the champion and the hooks", _up),
    "load": ("step 5: open-loop load against the latency budget", _load),
    "drill": ("step 5: swap releases, kill or stop a worker, all under load", _drill),
    "release": ("step 5: shadow, canary, champion; a bad candidate goes back by itself", _release),
    "rollback": ("step 5: all traffic back to the previous release", _rollback),
    "monitor": ("step 6: drift, slices, quality, business; fires the hooks", _monitor),
    "retrain": ("step 6: new slice, same pipeline, new challenger", _retrain),
    "report": ("the page with each design number beside the measured one", _report),
    "status": ("what is live, what it can go back to, which processes run", _status),
    "explain": ("replay one request from the feature log", _explain),
    "down": ("stop every process of the stack", _down),
    "demo": ("the whole loop, in order, on this machine", _demo),
}


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsd", description="The six steps of design.yaml, running.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {name: commands.add_parser(name, help=text, description=text) for name, (text, _) in COMMANDS.items()}
    for each in parsers.values():
        each.add_argument("--json", action="store_true", help="print the result as JSON")
    for name in ("data", "demo"):
        parsers[name].add_argument("--path", type=Path, help="folder of your own CSV or Parquet files")
    for name in ("train", "retrain"):
        parsers[name].add_argument("--window-days", type=_positive, help="train on the newest days only")
    parsers["load"].add_argument("--seconds", type=_positive, help="length of the measured run")
    for name in ("load", "drill"):
        parsers[name].add_argument("--rps", type=_positive, help="arrivals per second")
    parsers["drill"].add_argument("what", choices=["swap", "kill", "stop"])
    parsers["plan"].add_argument("--measured", action="store_true", help="replicas from what --find-knee measured")
    parsers["load"].add_argument(
        "--shape",
        choices=["steady", "spike", "soak"],
        default="steady",
        help="spike: the middle third many times as fast",
    )
    parsers["load"].add_argument("--find-knee", action="store_true", help="a ladder of rates: the highest that holds")
    parsers["load"].add_argument("--save-baseline", action="store_true", help="later runs are held against this one")
    parsers["load"].add_argument("--shifted", action="store_true", help="send the shifted mix of requests")
    parsers["release"].add_argument("--version", type=_positive, help="model version; default: the challenger")
    parsers["release"].add_argument("--fault", choices=["invert", "slow"], help="plant a fault in the candidate")
    parsers["rollback"].add_argument("--reason", default="asked for on the command line", help="kept in the ledger")
    parsers["explain"].add_argument("request_id")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 all checks passed, 1 a check failed, 2 bad input, 130 interrupted.
    """
    args = _parser().parse_args(argv)
    from mlsd.commands import console
    from mlsd.core.errors import UserError
    from mlsd.problem.context import load_context

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of libraries, about themselves
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return console.run(load_context(), lambda context: COMMANDS[args.command][1](context, args), args)
    except UserError as error:
        print(f"mlsd {args.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written, no loopback address
        named = f"{error.filename}: " if error.filename else ""
        print(f"mlsd {args.command}: {named}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mlsd {args.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
