"""How results reach a person: one line per step, the checks below it; JSON for scripts."""

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator

from mlsd.commands.progress import Progress
from mlsd.core.result import Check, StepResult
from mlsd.problem.context import Context

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
    """The check that a single line shows: the first failed one, else the first."""
    failed = [check for check in result.checks if not check.passed]
    return (failed or result.checks)[0]


def line(result: StepResult) -> str:
    """One step on one line: verdict, name, the design number beside the measured one, seconds."""
    check = headline(result)
    verdict = "pass" if result.passed else "FAIL"
    numbers = f"{check.name}: {check.measured}  (design {check.designed})"
    return f"{verdict}  {result.step:<18} {numbers:<78} {result.seconds:6.1f} s"


def _print_checks(result: StepResult) -> None:
    for check in result.checks:
        mark = "ok  " if check.passed else "FAIL"
        print(f"      {mark} {check.name:<34} {check.measured:<28} design {check.designed}")


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
        0 if every result passed, else 1.
    """
    results = []
    with Progress(args.command):
        for result in _timed(context, work):
            results.append(result)
            if not args.json:
                _while_read(lambda result=result: _print(result, args.command))  # type: ignore[misc]
    if args.json:
        found = [result.model_dump(mode="json") for result in results]
        text = json.dumps(found if args.command == "demo" else found[0], indent=2)
        _while_read(lambda: print(text, flush=True))
    return 0 if results and all(result.passed for result in results) else 1
