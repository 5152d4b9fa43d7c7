"""Who keeps a serving process supplied with its model: at once, again and again, and never with another project's."""

from pathlib import Path
from typing import Any

import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.snapshot import current
from mlsd.models.bundle import ModelRefused
from mlsd.models.release import Release
from mlsd.models.scoring import Bundle
from mlsd.models.selection import compile_engine
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.loading import model_loader
from mlsd.serving.loading.bundle_loading import load_model
from mlsd.serving.loading.model_loader import ModelLoader
from support.boosters import boosted, bundled
from support.gameday import Seen
from support.model_server import train
from support.waiting import within


def keep(home: Home, design: Design, problem: Problem, release: Release) -> tuple[ModelLoader, list[str]]:
    put: list[str] = []
    return ModelLoader(
        release, Context.of(design, home, problem), current(home), lambda bundle: put.append(bundle.engine)
    ), put


def test_a_server_starts_compiled_when_training_has_left_the_object(
    served_home: Home, patient_design: Design, problem: Problem
) -> None:
    release = train(served_home, patient_design, problem, 41)
    compile_engine(Path(release.model_dir), release.model_digest, served_home)
    loader, put = keep(served_home, patient_design, problem, release)
    loader.stop()
    assert (put, loader.not_ready_reason) == (["lleaves"], "")


@pytest.mark.fault("Wrong model (feature list, schema, metric)", "refused by its signature, never ready")
def test_a_model_of_another_project_is_refused(
    served_home: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    monkeypatch.setattr(model_loader, "fetch_bundle", lambda *_: None)
    folder = served_home.models / "foreign"
    digest = bundled(folder, boosted())
    release = Release(release_id=1, model_version=9, model_dir=str(folder), model_digest=digest)
    loader, put = keep(served_home, patient_design, problem, release)
    loader.stop()
    seen(loader.not_ready_reason)
    assert put == [] and "trained for other features" in loader.not_ready_reason


def test_an_error_that_nobody_foresaw_is_not_the_last_try(
    served_home: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5.11: whatever loading raises, the process asks for its model again."""
    native = patient_design.serving.model_copy(update={"engine": "lightgbm"})  # no compiler that outlives the test
    design = patient_design.model_copy(update={"serving": native})
    release = train(served_home, design, problem, 42)
    errors = iter([ModelRefused("not there yet"), SystemError("odd"), MemoryError("full")])

    def load(*arguments: Any) -> Bundle:
        for error in errors:
            raise error
        return load_model(*arguments)

    monkeypatch.setattr(model_loader, "load_model", load)
    monkeypatch.setattr(model_loader, "fetch_bundle", lambda *_: None)
    monkeypatch.setattr(model_loader, "RETRY_S", 0.01)
    loader, put = keep(served_home, design, problem, release)
    assert within(60, lambda: len(put) > 0)
    loader.stop()
    assert loader.not_ready_reason == ""
