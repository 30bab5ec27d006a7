"""The precision of a model, before it is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actors.backends.null import RUNTIME as NULL
from actors.backends.precision import FastPrecision, Precision
from actors.errors import ModelError
from actors.models.precision import choose_precision, with_precision
from actors.parameters import ModelParameters

FOLDER = Path("somewhere")
FAST = replace(
    NULL,
    name="quick",
    fast=FastPrecision(
        uses_gpu=lambda device: device == "cuda",
        choose=lambda _, on_gpu: Precision("float16" if on_gpu else "int8", ""),
    ),
)


def _model(**keys: Any) -> ModelParameters:
    return ModelParameters(**{"backend": f"{__name__}:FAST", **keys})


@pytest.mark.parametrize(
    ("keys", "on_gpu", "dtype"),
    [
        ({}, False, "float32"),
        ({}, True, "float16"),
        ({"precision": "exact"}, True, "float32"),
        ({"precision": "fast"}, True, "float16"),
        ({"precision": "fast"}, False, "int8"),
        ({"dtype": "bfloat16"}, True, "bfloat16"),
        ({"dtype": "float32"}, True, "float32"),
        ({"precision": "fast", "dtype": "bfloat16"}, False, "bfloat16"),
        ({"device": "cuda"}, None, "float16"),
        ({"device": "cpu"}, None, "float32"),
    ],
)
def test_what_is_asked_for_is_what_runs(keys: dict[str, Any], on_gpu: bool | None, dtype: str) -> None:
    assert choose_precision(FOLDER, _model(**keys), on_gpu).dtype == dtype
    assert with_precision(FOLDER, _model(**keys), on_gpu).dtype == dtype


def test_a_runtime_of_float32_alone_is_not_fast() -> None:
    for on_gpu in (False, True):
        assert choose_precision(FOLDER, ModelParameters(backend="null"), on_gpu).is_exact
    with pytest.raises(ModelError, match=r"model\.precision: fast asks for more than the runtime null can do.*exact"):
        choose_precision(FOLDER, ModelParameters(backend="null", precision="fast"), on_gpu=True)


@pytest.mark.parametrize(("precision", "dtype"), [("exact", "float16"), ("exact", "bfloat16"), ("fast", "float32")])
def test_two_keys_that_contradict_each_other(precision: Any, dtype: Any) -> None:
    with pytest.raises(ValidationError, match=f"precision is {precision} and dtype is {dtype}, which contradict"):
        ModelParameters(precision=precision, dtype=dtype)


def test_an_unknown_precision_names_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match="'exact', 'fast' or 'auto'"):
        ModelParameters.model_validate({"precision": "half"})


def test_what_is_decided_can_be_read_again() -> None:
    for asked in ("exact", "fast", "auto"):
        decided = ModelParameters(precision=asked).in_type("float32")
        assert ModelParameters.model_validate(decided.model_dump()) == decided
