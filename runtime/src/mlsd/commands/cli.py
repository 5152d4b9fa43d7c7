"""The `mlsd` command: argument parsing only. Every import of a step happens inside its command, to start fast."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mlsd.commands.steps import STEPS, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlsd.core.result import StepResult
    from mlsd.problem.context import Context


OF_A_RELEASE = ("monitor", "batch", "explain")  # they run with the pack of the release that they look at
DEMO_HELP = "the whole loop, in order, on this machine"
HELP = {name: step.help for name, step in STEPS.items()} | {"demo": DEMO_HELP}
EPILOG = "Exit codes: 0 all passed, 1 a check failed, 2 bad input, 3 inconclusive (nothing learnt), 130 interrupted."


def _options(args: argparse.Namespace) -> Options:
    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in vars(args).items() if name in known})


def _work(args: argparse.Namespace) -> Callable[[Context], StepResult | Iterable[StepResult]]:
    if args.command == "demo":
        from mlsd.commands import demo

        return lambda context: demo.run(context, args.path)
    return lambda context: STEPS[args.command].run(context, _options(args))


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsd", description="The six steps of design.yaml, running.", epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=text, description=text, epilog=EPILOG) for name, text in HELP.items()
    }
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
    parsers["load"].add_argument("--find-knee", action="store_true", help="rising rates: the highest that holds")
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
        0 all checks passed, 1 a check failed, 2 bad input, 3 inconclusive, 130 interrupted.
    """
    args = _parser().parse_args(argv)
    from mlsd.commands import console
    from mlsd.core.errors import UserError
    from mlsd.problem.context import load_context

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of libraries, about themselves
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        context = load_context()
        if args.command in OF_A_RELEASE:
            from mlsd.commands.release_pack import follow

            follow(context, args.command, getattr(args, "request_id", None), sys.argv[1:] if argv is None else argv)
        return console.run(context, _work(args), args)
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
