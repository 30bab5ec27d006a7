"""What is written is decided before anything is."""

from pathlib import Path

import pytest

from actors.errors import ModelError
from actors.export.form import FORMS, ExportTools
from pipelines.errors import ConfigError
from pipelines.export.choice import Choice, choose
from tests.actors.toy_forms import ABSENT_NAME, PAIR_NAME, TEXT_NAME

PARTLY_NAME = "tests.actors.toy_forms:PARTLY"

FOLDER = Path("my-model")


def _names(choice: Choice) -> list[str]:
    return [f"{step}{'' if step.is_kept else ', for a while'}" for step in choice.steps]


def test_the_base_is_always_there() -> None:
    assert _names(choose([TEXT_NAME], [], ExportTools(), FOLDER, "bert")) == ["safetensors float32", "text float32"]
    [base, _] = choose([TEXT_NAME], [], ExportTools(), FOLDER, "bert").steps
    assert base.is_base


def test_a_form_has_the_precisions_that_are_named() -> None:
    chosen = choose(["onnx", PAIR_NAME, "safetensors"], ["float32", "int8"], ExportTools(), FOLDER, "bert")
    assert _names(chosen) == ["safetensors float32", "onnx float32", "onnx int8", "text float32", "text int8"]


def test_float32_of_which_others_are_made_is_there_for_a_while() -> None:
    chosen = choose(["safetensors", "onnx"], ["int8"], ExportTools(), FOLDER, "bert")
    assert _names(chosen) == ["safetensors float32", "onnx float32, for a while", "onnx int8"]


def test_without_names_all_that_can_be_written_here_is_chosen_and_the_rest_named() -> None:
    chosen = choose([], [], ExportTools(), FOLDER, "electra")
    left_out = {line.partition(":")[0] for line in chosen.left_out if " in int8: " not in line}
    assert {step.name for step in chosen.steps} | left_out == set(FORMS)
    assert any(line == "rust: it holds bert, distilbert, roberta, and this is a electra" for line in chosen.left_out)


@pytest.mark.parametrize(
    ("formats", "precisions", "error", "says"),
    [
        (["onxx"], [], ConfigError, "there is no 'onxx'"),
        ([ABSENT_NAME], [], ConfigError, "no_such_package is not installed here"),
        (["onnx"], ["float8"], ConfigError, r"--precision: no form has 'float8'; there are float32, float16, int8"),
        (["onnx", TEXT_NAME], ["int8"], ConfigError, "--formats: text in int8: it has float32 only"),
    ],
)
def test_what_is_named_and_cannot_be_is_an_error(
    formats: list[str], precisions: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        choose(formats, precisions, ExportTools(), FOLDER, "bert")


def test_a_precision_whose_packages_are_missing_is_left_out_unless_it_is_named() -> None:
    chosen = choose([PARTLY_NAME], [], ExportTools(), FOLDER, "bert")
    assert _names(chosen) == ["safetensors float32", "text float32"]
    says = "text in int8: no_such_package is not installed here; install with pip install 'spanmill[text]'"
    assert chosen.left_out == (says,)
    with pytest.raises(ConfigError, match=r"--precision: text in int8: no_such_package is not installed"):
        choose([PARTLY_NAME], ["int8"], ExportTools(), FOLDER, "bert")


def test_a_kind_that_a_named_form_cannot_hold() -> None:
    with pytest.raises(ModelError, match="my-model is a electra, which the form ctranslate2 cannot hold"):
        choose(["ctranslate2"], [], ExportTools(), FOLDER, "electra")
