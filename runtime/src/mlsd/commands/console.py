"""How results reach a person: one line per step, the checks below it; JSON for scripts."""

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator

from mlsd.commands.progress import Progress
from mlsd.core.result import EXIT_CODES, Check, StepResult, Verdict, overall
from mlsd.problem.context import Context

SHOWN: dict[Verdict, str] = {"pass": "pass", "fail": "FAIL", "inconclusive": "inconclusive"}
MARKS: dict[Verdict, str] = {"pass": "ok  ", "fail": "FAIL", "inconclusive": "??  "}
Work = Callable[[Context], StepResult | Iterable[StepResult]]


def _timed(context: Context, work: Work) -> Iterator[StepResult]:
    started = time.monotonic()
    outcome = work(context)
    for result in [outcome] if isinstance(outcome, StepResult) else outcome:
        timed = result if result.seconds else result.model_copy(update={"seconds": time.monotonic() - started})
        timed.save(context.home)
        yield timed
        started = time.monotonic()


def headline(result: StepResult) -> Check:
    """The check that a single line shows: the first failed one, else the first inconclusive one, else the first."""
    worst = [check for check in result.checks if check.verdict == result.verdict]
    return (worst or result.checks)[0]


def line(result: StepResult) -> str:
    """One step on one line: verdict, name, the design number beside the measured one, seconds."""
    check = headline(result)
    numbers = f"{check.name}: {check.measured}  (design {check.designed})"
    return f"{SHOWN[result.verdict]}  {result.step:<18} {numbers:<78} {result.seconds:6.1f} s"


def _print_checks(result: StepResult) -> None:
    for check in result.checks:
        print(f"      {MARKS[check.verdict]} {check.name:<34} {check.measured:<28} design {check.designed}")


def _print(result: StepResult, command: str) -> None:
    print(line(result), flush=True)
    if command == "demo" and result.step == "plan":
        print(result.summary.partition("\n\n")[0], flush=True)
    elif command != "demo" or not result.passed:
        print(textwrap.indent(result.summary, "      "), flush=True)
        _print_checks(result)


def _while_read(show: Callable[[], None]) -> None:
    """Show something to whoever reads; when nobody does any more (`head`), the work and its exit code go on."""
    try:
        show()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(context: Context, work: Work, args: argparse.Namespace) -> int:
    """Do the work, save and print each result as it comes.

    Returns:
        0 if every result passed, 1 if one failed, else 3: at least one was inconclusive.
    """
    results = []
    with Progress(args.command):
        for result in _timed(context, work):
            results.append(result)
            if not args.json:
                _while_read(lambda result=result: _print(result, args.command))  # type: ignore[misc]
    if args.json:
        found = [result.model_dump(mode="json") for result in results]
        _while_read(lambda: print(json.dumps(found if args.command == "demo" else found[0], indent=2), flush=True))
    return EXIT_CODES[overall(result.verdict for result in results)]
