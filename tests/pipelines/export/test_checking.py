"""A folder as it was exported passes; what was damaged, changed or cannot be run is named."""

import io
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from rich.console import Console
from safetensors.numpy import load_file, save_file

from actors.backends.converted.conversion import HEAD_FILE
from actors.errors import ModelError
from actors.export.form import ExportTools
from pipelines.export.checking import check_folder
from tests.actors.exports import exported, flip, record
from tests.actors.helpers import GOLDEN
from tests.pipelines.s3_server import S3Server

FORMS = (("safetensors", "float32"), ("ctranslate2", "float32"), ("ctranslate2", "int8"))


@pytest.fixture
def folder(conversions: Path, tmp_path: Path) -> Path:
    """BERT with CTranslate2's forms."""
    return exported(GOLDEN / "models" / "bert", tmp_path / "bert", *FORMS)


def _check(folder: Path | str, **options: object) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200)
    code = check_folder(str(folder), console, lambda line: None, ExportTools(threads=1), **options)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


def _line(said: str, form: str) -> list[str]:
    """The row of a form in the table, `ctranslate2 int8`."""
    return next(words for line in said.splitlines() if (words := line.split())[:2] == form.split())


def test_a_folder_as_it_was_exported_passes_with_the_figures_of_every_form(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, said = _check(folder)
    assert code == 0, said
    assert _line(said, "safetensors float32")[-1] == "kept"
    exact, coarse = _line(said, "ctranslate2 float32"), _line(said, "ctranslate2 int8")
    assert (exact[-1], coarse[-1]) == ("kept", "kept")
    # form, precision, MB, largest logit difference, hidden states, equal spans, F1, least cosine, rows/s, verdict
    assert len(exact) == len(coarse) == 10
    assert float(exact[3]) < 1e-3 < float(coarse[3])
    assert (exact[5], exact[7]) == ("100.0%", "1.000000")
    assert "on twelve fixed windows and 24 rows, where the F1 of torch is " in said
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("name", ["ctranslate2/float32/model.bin", "ctranslate2/int8/config.json"])
def test_a_byte_that_was_flipped_is_named_with_its_file(folder: Path, name: str) -> None:
    flip(folder / name)
    code, said = _check(folder)
    assert code == 1
    assert f"{name} is not what was exported: its SHA-256 begins with " in said
    form = name.replace("/", " ").rpartition(" ")[0]
    assert _line(said, form)[-1] == "DAMAGED"
    assert [_line(said, " ".join(key))[-1] for key in FORMS if " ".join(key) != form] == ["kept", "kept"]


def test_a_file_that_is_cut_short_or_missing_is_named(folder: Path) -> None:
    (folder / "ctranslate2/int8/model.bin").unlink()
    head = folder / "ctranslate2/float32" / HEAD_FILE
    head.write_bytes(head.read_bytes()[:-1])
    code, said = _check(folder)
    assert code == 1
    assert "ctranslate2/int8/model.bin is missing, which _export.json lists" in said
    assert f"ctranslate2/float32/{HEAD_FILE} is not what was exported: it has " in said


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_that_was_changed_since_is_told(folder: Path, name: str) -> None:
    if name == "model.safetensors":
        flip(folder / name)
    else:
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    code, said = _check(folder)
    assert code == 1
    assert "weights, config or tokenizer are not those that were exported" in said
    assert ("model.safetensors is not what was exported" in said) == (name == "model.safetensors")


def test_a_form_that_is_recorded_well_and_computes_something_else_is_beyond_its_tolerance(folder: Path) -> None:
    place = folder / "ctranslate2/float32" / HEAD_FILE
    head = load_file(place)
    save_file({"weight": head["weight"] * np.float32(1.01), "bias": head["bias"]}, place)
    record(folder, FORMS)
    code, said = _check(folder)
    assert code == 1
    assert _line(said, "ctranslate2 float32")[-1] == "BEYOND"
    assert "ctranslate2 float32 BEYOND: hidden states" in said
    assert "allowed are hidden states 0.0001" in said


def test_what_cannot_be_run_here_is_said_and_is_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(folder, [*FORMS, ("no_such_package.forms:FORM", "float32"), ("ctranslate2", "float64")])
    code, said = _check(folder)
    assert code == 0, said
    assert "no_such_package.forms:FORM float32 not run: " in said
    assert "ctranslate2 float64 not run: this Spanmill knows no float64 of it" in said
    monkeypatch.setitem(__import__("sys").modules, "ctranslate2", None)
    code, said = _check(folder)
    assert code == 0, said
    assert "ctranslate2 int8 not run: ctranslate2 is not installed here" in said


def test_a_form_that_cannot_be_opened_has_failed(folder: Path) -> None:
    (folder / "ctranslate2/float32/model.bin").write_bytes(b"broken")
    record(folder, FORMS)
    code, said = _check(folder)
    assert code == 1
    assert _line(said, "ctranslate2 float32")[-1] == "FAILED"
    assert "cannot be read by CTranslate2" in said


def test_the_users_own_rows_are_compared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"question": "Who?", "context": "It is Ada.", "answers": {"text": ["Ada"], "answer_start": [6]}}\n'
    )
    code, said = _check(folder, rows=str(tmp_path / "rows.jsonl"))
    assert code == 0, said
    assert "on twelve fixed windows and 1 row, where the F1 of torch" in said


def test_a_folder_that_is_no_export_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"bert holds no _export\.json, so it is nothing that spanmill export wrote"):
        _check(GOLDEN / "models" / "bert")
    with pytest.raises(ModelError, match="there is no folder"):
        _check(tmp_path / "nowhere")


@pytest.fixture
def memory(folder: Path) -> Iterator[MemoryFileSystem]:
    """The folder at memory://models/bert, with another file beside it."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/models/bert", recursive=True)
    fs.pipe("/models/bert/optimizer.pt", b"large")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_url_is_checked_as_it_is_now(memory: MemoryFileSystem) -> None:
    assert _check("memory://models/bert")[0] == 0
    path = "/models/bert/ctranslate2/int8/model.bin"
    data = bytearray(memory.cat_file(path))
    data[-1] ^= 1
    memory.pipe_file(path, bytes(data))
    code, said = _check("memory://models/bert")
    assert code == 1
    assert "ctranslate2/int8/model.bin is not what was exported" in said
    memory.rm("/models/bert/_export.json")
    with pytest.raises(ModelError, match=r"memory://models/bert holds no _export\.json"):
        _check("memory://models/bert")


def test_a_folder_on_s3_is_checked(folder: Path, s3: S3Server) -> None:
    fsspec.filesystem("s3", **s3.options).put(str(folder), "bucket/exported", recursive=True)
    code, said = _check("s3://bucket/exported", storage=s3.options)
    assert code == 0, said
    assert _line(said, "ctranslate2 int8")[-1] == "kept"
