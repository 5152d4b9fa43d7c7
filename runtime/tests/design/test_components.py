"""Kinds by name: a new one is a module and a line, an unknown one is told those there are."""

import pytest

from mlsd.core.errors import UserError
from mlsd.design.components import ENGINES, MODEL_FAMILIES, family, known_engine, load, one_of
from mlsd.design.design import Design
from mlsd.training.families import every_fit, training_family


def test_an_unknown_name_is_told_all_and_the_nearest() -> None:
    with pytest.raises(UserError, match=r"found .boosted_tree., expected one of logistic_regression, boosted"):
        family("boosted_tree")
    assert one_of(["a"], "x") == "one of a"


@pytest.mark.parametrize("name", MODEL_FAMILIES)
def test_every_family_can_be_fitted_and_parsed(design: Design, name: str) -> None:
    found = training_family(name)
    assert found.candidates(design, ("a", "b"))
    assert callable(load(family(name).parse))
    assert set(found.engines).isdisjoint(found.left_out)


def test_the_simplest_comes_first(design: Design) -> None:
    assert next(iter(MODEL_FAMILIES)) == "logistic_regression"
    assert len(every_fit(design, ("a",))) == 3


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_can_be_named_and_opened(name: str) -> None:
    assert known_engine(name) == name
    assert callable(load(ENGINES[name]))


def test_an_engine_that_is_none_is_told_all_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"one of auto, lightgbm, remote, lleaves, onnx, onnx_int8, nearest 'lleaves'"):
        known_engine("leaves")
    assert known_engine("auto") == "auto"
