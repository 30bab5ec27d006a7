"""Forms that fail leave nothing behind, and take no other with them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.backends.exported import ExportedForm, LeftOutForm
from actors.errors import ModelError
from actors.export.form import ExportForm, ExportTools
from pipelines.export.assembly import Assembly
from pipelines.export.choice import choose
from pipelines.export.figures import Figures
from tests.actors.helpers import GOLDEN
from tests.actors.toy_forms import BROKEN_NAME, FULL_NAME, MUTTERING_NAME, OFF_NAME, PAIR_NAME, REFUSED_NAME, TEXT_NAME
from tests.pipelines.export.conftest import files_in, unchecked

MODEL = GOLDEN / "models" / "bert"
BASE = {
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, list[ExportedForm], list[LeftOutForm], list[str]]]:
    def run(
        *names: str, precisions: tuple[str, ...] = (), off: tuple[str, ...] = ()
    ) -> tuple[Path, list[ExportedForm], list[LeftOutForm], list[str]]:
        said: list[str] = []
        output = tmp_path / "output"
        output.mkdir()

        def check(form: ExportForm, precision: str) -> Figures:
            if f"{form.name} {precision}" in off:
                raise ModelError(f"{output}/text: too far from {MODEL}")
            return unchecked(MODEL, output)(form, precision)

        tools = ExportTools(threads=1)
        steps = choose(names, precisions, tools, MODEL, "bert").steps
        kept, left_out = Assembly(MODEL, output, True, tools, check, said.append).write(steps)
        return output, list(kept), list(left_out), said

    return run


Write = Callable[..., tuple[Path, list[ExportedForm], list[LeftOutForm], list[str]]]


def test_files_are_described_and_what_is_no_file_of_a_form_is_removed(write: Write) -> None:
    output, kept, left_out, said = write(TEXT_NAME)
    assert files_in(output) == BASE | {"text/float32/weights.json"}
    assert [(one.name, one.precision) for one in kept] == [("safetensors", "float32"), (TEXT_NAME, "float32")]
    [file] = kept[1].files
    assert file.path == "text/float32/weights.json"
    assert file.bytes == (output / file.path).stat().st_size
    assert len(file.sha256) == 64
    assert {path.stat().st_mode & 0o777 for path in output.iterdir() if path.is_file()} == {
        output.stat().st_mode & 0o666
    }
    assert not left_out
    assert said[0] == "1 of 2: safetensors float32: writing"
    assert "2 of 2: text float32: " in said[-1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [(REFUSED_NAME, "a comma is no decimal point"), (BROKEN_NAME, "RuntimeError: bug")],
)
def test_one_that_cannot_be_written_leaves_nothing(write: Write, name: str, reason: str) -> None:
    output, kept, left_out, said = write(name, "pytorch", precisions=("float32",))
    assert files_in(output) == BASE | {"pytorch_model.bin"}
    assert not (output / "text").exists()
    assert [one.name for one in kept] == ["safetensors", "pytorch"]
    assert left_out == [LeftOutForm(name, "float32", reason)]
    assert any(f"NOT KEPT: {reason}" in line for line in said)


def test_precisions_of_one_that_cannot_be_written_are_not_tried(write: Write) -> None:
    _, _, left_out, _ = write(BROKEN_NAME)
    assert [one.reason for one in left_out] == [
        "RuntimeError: bug",
        "not tried, since its first precision could not be written",
    ]


def test_one_that_is_off_is_removed_and_its_other_precisions_stay(write: Write) -> None:
    output, kept, left_out, _ = write(PAIR_NAME, off=("text float32",))
    assert files_in(output) == BASE | {"text/int8/weights.json"}
    assert [(one.name, one.precision) for one in kept] == [("safetensors", "float32"), (PAIR_NAME, "int8")]
    assert left_out == [LeftOutForm(PAIR_NAME, "float32", "text: too far from bert")]


def test_float32_of_which_others_are_made_is_removed_at_the_end(write: Write) -> None:
    output, kept, _, said = write(PAIR_NAME, precisions=("int8",))
    assert files_in(output) == BASE | {"text/int8/weights.json"}
    assert [(one.name, one.precision) for one in kept] == [("safetensors", "float32"), (PAIR_NAME, "int8")]
    assert not any("text float32: comparing" in line for line in said)


def test_without_the_base_there_is_no_export(write: Write) -> None:
    with pytest.raises(
        ModelError, match="safetensors float32, which all else is made of and checked against: text: too far"
    ):
        write(TEXT_NAME, off=("safetensors float32",))


@pytest.mark.parametrize("name", [FULL_NAME, MUTTERING_NAME])
def test_a_full_disk_ends_it(write: Write, name: str) -> None:
    """Also where a package says so in an error of its own kind."""
    with pytest.raises(OSError, match="No space left"):
        write(name, "pytorch")


def test_a_form_that_is_off_is_found_by_its_own_check(write: Write, tmp_path: Path) -> None:
    """With the real comparison, on the fixed windows alone."""
    from dataclasses import asdict

    from actors.export.parity import ParitySample, check_form

    tools, output, sample = ExportTools(threads=1), tmp_path / "real", ParitySample()
    output.mkdir()

    def check(form: ExportForm, precision: str) -> Figures:
        return asdict(check_form(form, output, precision, tools, sample))

    for name, is_kept in ((TEXT_NAME, True), (OFF_NAME, False)):
        steps = choose([name], [], tools, MODEL, "bert").steps
        kept, left_out = Assembly(MODEL, output, True, tools, check, lambda line: None).write(steps)
        assert [one.name for one in kept] == ["safetensors", *([name] if is_kept else [])]
        assert [one.name for one in left_out] == ([] if is_kept else [name])
        if is_kept:
            (output / "text/float32/weights.json").unlink()
            (output / "text/float32").rmdir()
    assert "too far from torch" in left_out[0].reason
