"""Forms by their names, what they lack, and which files are theirs."""

from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import ModelError
from actors.export.form import FORMS, ExportTools, find_form
from tests.actors.toy_forms import ABSENT, ABSENT_NAME, TEXT, TEXT_NAME


@pytest.mark.parametrize("name", FORMS)
def test_a_built_in_form_is_found_by_its_name(name: str) -> None:
    form = find_form(name)
    assert form.name == name
    assert form.precisions[0] == "float32"
    assert set(form.tolerances) >= set(form.precisions)


def test_a_form_of_another_package_is_found_by_its_place() -> None:
    assert find_form(TEXT_NAME) is TEXT


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("onxx", "--formats: there is no 'onxx'; there are safetensors, pytorch, "),
        ("tests.actors.toy_forms:NOTHING", "cannot be imported"),
        ("tests.actors.toy_forms:TEXT_NAME", r"is a str and no actors\.export\.form\.ExportForm"),
    ],
)
def test_what_is_no_form_says_so(name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        find_form(name)


def test_a_form_without_its_packages_says_what_to_install() -> None:
    assert find_form(ABSENT_NAME).missing_packages == ["no_such_package"]
    says = "no_such_package is not installed here; install with pip install 'spanmill[text]'"
    assert ABSENT.lacking(ExportTools()) == says
    assert TEXT.lacking(ExportTools()) is None


def test_packages_may_lie_in_an_environment_of_their_own() -> None:
    form = replace(TEXT, elsewhere=("no_such_package",))
    lacks = form.lacking(ExportTools())
    assert lacks is not None
    assert lacks.endswith("name the Python of an environment that has it: --python text=PATH")
    assert form.lacking(ExportTools(pythons={"text": Path("/usr/bin/python3")})) is None


def test_programs_have_to_be_on_the_path() -> None:
    form = replace(TEXT, programs={"python3": "apt-get install python3"})
    assert form.lacking(ExportTools()) is None
    form = replace(TEXT, programs={"no-such-program": "apt-get install it"})
    assert form.lacking(ExportTools()) == "no-such-program is not installed here; install with apt-get install it"


def test_a_precision_may_need_more_packages() -> None:
    form = replace(TEXT, packages_of={"int8": ("no_such_package",)}, extra_of="more")
    assert form.lacking(ExportTools()) is None
    assert form.lacking_for("float32") is None
    says = "no_such_package is not installed here; install with pip install 'spanmill[more]'"
    assert form.lacking_for("int8") == says


def test_a_kind_that_it_cannot_hold_is_named_with_those_that_it_can(tmp_path: Path) -> None:
    form = replace(TEXT, kinds=frozenset({"bert", "distilbert"}))
    form.check_kind(tmp_path, "bert")
    TEXT.check_kind(tmp_path, "electra")
    with pytest.raises(ModelError, match="is a electra, which the form text cannot hold; it holds bert, distilbert"):
        form.check_kind(tmp_path, "electra")


def test_its_files_are_those_that_match_within_folders_too(tmp_path: Path) -> None:
    for name in (
        "model.onnx",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "onnx/model_fp16.onnx",
        "onnx/deep/model.onnx",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    form = replace(TEXT, files=lambda precision: ("onnx/model.onnx*",))
    assert form.found(tmp_path, "float32") == [tmp_path / "onnx/model.onnx", tmp_path / "onnx/model.onnx_data"]
    whole = replace(TEXT, files=lambda precision: ("onnx/*",))
    assert len(whole.found(tmp_path, "float32")) == 4
