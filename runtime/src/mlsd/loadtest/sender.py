"""Locust in a process of its own (in one that imported MLflow it would end in a RecursionError)."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.loadtest.summary import LoadSummary
from mlsd.local import processes
from mlsd.local.ports import ports_of
from mlsd.problem.packs import pack_folder

STARTUP_S = 30.0  # of Locust's imports, on a busy machine
STOP_S = 20.0
MAX_LINES = 5
BEGAN = ".began"


@dataclass(frozen=True)
class Spike:
    """The rate is `factor` times as high from one second of the measured time to another."""

    factor: float
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Pattern:
    """How requests arrive: time before that is not measured, a stretch at a higher rate, equal or random gaps."""

    warmup_s: float = 0.0
    spike: Spike | None = None
    poisson: bool = False  # gaps as of independent users
    retry: bool = False  # what is refused is asked again when its Retry-After says so

    def arguments(self) -> list[str]:
        """For the locustfile."""
        found = ["--warmup", str(self.warmup_s), *(["--poisson"] if self.poisson else [])]
        found += ["--retry"] if self.retry else []
        if self.spike:
            found += ["--spike-factor", str(self.spike.factor)]
            found += ["--spike-from", str(self.spike.start_s), "--spike-to", str(self.spike.end_s)]
        return found


STEADY = Pattern()


@dataclass
class LoadProcess:
    """A running Locust."""

    process: subprocess.Popen[bytes]
    out: Path
    log: Path
    deadline: float
    summary: LoadSummary | None = None

    def wait_begun(self) -> None:
        """Until the first request is sent.

        Raises:
            UserError: none was; the message holds the end of the log.
        """
        until = time.monotonic() + STARTUP_S
        while not self.out.with_suffix(BEGAN).exists():
            if not self.runs() or time.monotonic() > until:
                self.finish()
                raise UserError(f"load: nothing was sent within {STARTUP_S:g} s; see {self.log}")
            time.sleep(0.02)

    def wait(self) -> LoadSummary:
        """Let the run end by itself.

        Raises:
            UserError: it did not end in time, or left no result.
        """
        try:
            self.process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._stop()
        return self._summary()

    def finish(self) -> LoadSummary:
        """End the run now; requests in flight are still answered and counted.

        Raises:
            UserError: it left no result.
        """
        self._stop()
        return self._summary()

    def runs(self) -> bool:
        """Whether it still sends."""
        return self.process.poll() is None

    def _stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _summary(self) -> LoadSummary:
        if self.summary is None:
            self.summary = self._read()
        return self.summary

    def _read(self) -> LoadSummary:
        try:
            return LoadSummary.model_validate_json(self.out.read_bytes())
        except (OSError, ValidationError):
            tail = " | ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-MAX_LINES:])
            raise UserError(f"load: Locust left no result (exit code {self.process.returncode}): {tail}") from None
        finally:
            self.out.unlink(missing_ok=True)
            self.out.with_suffix(BEGAN).unlink(missing_ok=True)


def _locustfile(pack: str) -> Path:
    """The project's own load test: in the working directory, or in the project that holds the pack."""
    roots = (Path.cwd(), pack_folder(pack).parents[1])
    places = [root / "loadtests" / "locustfile.py" for root in roots]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{places[0]}: not found; run in the project's folder")
    return found


def _traffic(home: Home, *, shifted: bool) -> Path:
    found = home.data / ("traffic_shifted.jsonl" if shifted else "traffic.jsonl")
    if not found.is_file() or not found.stat().st_size:
        raise UserError(f"{found}: no requests to send; run `mlsd features`")
    return found


def _locust(pack: str, host: str, traffic: Path, out: Path) -> list[str]:
    """The program, and what it always gets."""
    argv = [sys.executable, "-m", "locust", "-f", str(_locustfile(pack)), "--headless", "--only-summary"]
    argv += ["--exit-code-on-error", "0", "--loglevel", "WARNING", "--host", host]
    return [*argv, "--traffic", str(traffic), "--out", str(out), "--parent", str(os.getpid())]


def start(
    design: Design,
    home: Home,
    *,
    seconds: float | None = None,
    rps: float | None = None,
    pattern: Pattern = STEADY,
    shifted: bool = False,
    host: str | None = None,
) -> LoadProcess:
    """Start a run in the background; numbers not given come from `design.yaml: load_test`.

    Args:
        design: the rate and the length.
        home: where the traffic lies and the result goes.
        seconds: measured time.
        rps: arrivals per second.
        pattern: how they arrive.
        shifted: send the mix of requests with the planted shift.
        host: base URL, default the local edge.

    Raises:
        UserError: there is no traffic to send.
    """
    test, traffic = design.load_test, _traffic(home, shifted=shifted)
    seconds, rps = seconds or test.seconds, rps or test.rps
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    out, log = home.run / f"load-{os.getpid()}-{time.monotonic_ns()}.json", home.logs / "load.log"
    argv = [*_locust(design.problem, host or ports_of(home).edge_url, traffic, out), *pattern.arguments()]
    argv += ["--rps", str(rps), "--seconds", str(seconds)]
    argv += [] if design.serving_mode == "online" else ["--users-only"]
    env = {**os.environ, processes.MARK: str(home.run / "load")}  # so that `mlsd down` finds it whoever is left
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=home.run, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return LoadProcess(process, out, log, time.monotonic() + seconds + pattern.warmup_s + STARTUP_S)
