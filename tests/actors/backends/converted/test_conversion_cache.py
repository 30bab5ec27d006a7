"""Converted models are made once, and are there whole or not at all."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.converted.conversion_cache import (
    ExportedAs,
    Form,
    converted_folder,
    converted_model,
    is_converted,
    names_head,
)
from actors.backends.exported import EXPORT_VERSION, ExportedFile, ExportedForm, ExportRecord, write_export
from actors.backends.fingerprint import content_fingerprint
from actors.errors import ModelError

_PROGRAM = """
import os, sys, time
from pathlib import Path
from actors.backends.converted.conversion_cache import Form, converted_folder

folder, how = Path(sys.argv[1]), sys.argv[2]


def make(source, target, with_qa_head):
    with (folder / "made").open("a") as file:
        file.write("once\\n")
    (target / "weights").write_text("half")
    if how == "hang":
        print("begun", flush=True)
        while True:
            time.sleep(0.1)
    (target / "weights").write_text("whole")


print(converted_folder(folder, Form("toy", ("numpy",), make), with_qa_head=False))
"""


def _start(folder: Path, how: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _PROGRAM, str(folder), how]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)


def _write(source: Path, target: Path, with_qa_head: bool) -> None:
    (target / "weights").write_text(f"{source.name} {with_qa_head}")


TOY = Form("toy", ("numpy",), _write)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["BertForQuestionAnswering"]}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_model_is_converted_once(folder: Path) -> None:
    assert not is_converted(folder, TOY)
    place = converted_folder(folder, TOY, with_qa_head=True)
    assert (place / "weights").read_text() == "model True"
    assert is_converted(folder, TOY)
    (place / "weights").write_text("kept")
    assert (converted_folder(folder, TOY, with_qa_head=True) / "weights").read_text() == "kept"


def test_other_weights_forms_heads_and_versions_are_other_conversions(folder: Path) -> None:
    places = {converted_folder(folder, TOY, with_qa_head=True), converted_folder(folder, TOY, with_qa_head=False)}
    places |= {converted_folder(folder, replace(TOY, packages=("numpy", "filelock")), with_qa_head=True)}
    places |= {converted_folder(folder, replace(TOY, name="other"), with_qa_head=True)}
    (folder / "model.safetensors").write_bytes(b"others")
    places |= {converted_folder(folder, TOY, with_qa_head=True)}
    assert len(places) == 5


def test_a_form_is_made_from_another(folder: Path) -> None:
    second = Form("second", ("numpy",), _write, source=TOY)
    place = converted_folder(folder, second, with_qa_head=True)
    source = converted_folder(folder, TOY, with_qa_head=True)
    assert (place / "weights").read_text() == f"{source.name} True"


def test_two_processes_convert_a_model_once(folder: Path) -> None:
    processes = [_start(folder, "write") for _ in range(2)]
    (first, _), (second, _) = (process.communicate(timeout=300) for process in processes)
    assert first == second
    assert (Path(first.strip()) / "weights").read_text() == "whole"
    assert (folder / "made").read_text() == "once\n"


def test_what_a_killed_conversion_wrote_is_not_used(folder: Path) -> None:
    process = _start(folder, "hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    form = Form("toy", ("numpy",), _write)
    assert not is_converted(folder, form)
    process.kill()
    process.communicate()
    assert (converted_folder(folder, form, with_qa_head=False) / "weights").read_text() == "model False"


def test_a_failed_conversion_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def fail(source: Path, target: Path, with_qa_head: bool) -> None:
        (target / "weights").write_text("half")
        raise ModelError("cannot be converted")

    with pytest.raises(ModelError, match="cannot be converted"):
        converted_folder(folder, replace(TOY, make=fail), with_qa_head=True)
    assert [path.name for path in (tmp_path / "cache/spanmill/converted").iterdir() if path.suffix != ".lock"] == []


def test_a_cache_that_cannot_be_written_to_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written to .*/file/spanmill/converted.*XDG_CACHE_HOME="):
        converted_folder(folder, TOY, with_qa_head=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_named_with_the_mend(folder: Path) -> None:
    def fill(source: Path, target: Path, with_qa_head: bool) -> None:
        Path("/dev/full").write_bytes(bytes(1 << 16))

    with pytest.raises(ModelError, match=r"No space left on device; make room there, or .*XDG_CACHE_HOME="):
        converted_folder(folder, replace(TOY, make=fill), with_qa_head=True)


def test_a_config_tells_whether_there_is_a_qa_head(folder: Path) -> None:
    assert names_head(folder)
    (folder / "config.json").write_text('{"architectures": null}')
    assert not names_head(folder)
    (folder / "config.json").write_text("no JSON")
    with pytest.raises(ModelError, match=r"config\.json"):
        names_head(folder)


# A form that lies in the model's own folder

EXPORTED = replace(TOY, exported=ExportedAs("toys", "int8", "toys/int8"))


def _export(folder: Path, has_head: bool = True) -> None:
    """Two files of the form, and the record."""
    place = folder / "toys" / "int8"
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for name in ("weights", "words"):
        data = f"exported {name}".encode()
        (place / name).write_bytes(data)
        files.append(ExportedFile(f"toys/int8/{name}", len(data), sha256(data).hexdigest()))
    fingerprint = content_fingerprint(folder, TRANSFORMERS_WEIGHTS)
    forms = (ExportedForm("toys", "int8", tuple(files)),)
    write_export(folder, ExportRecord(EXPORT_VERSION, fingerprint, has_head, forms))


def test_what_was_exported_is_taken_where_it_lies(folder: Path, tmp_path: Path) -> None:
    _export(folder)
    assert is_converted(folder, EXPORTED)
    found = converted_model(folder, EXPORTED, with_qa_head=True)
    assert (found.folder, found.is_exported) == (folder / "toys/int8", True)
    assert found.results.parent == tmp_path / "cache/spanmill/converted"
    assert not found.results.exists()
    plain = converted_model(folder, TOY, with_qa_head=True)
    assert (plain.folder, plain.is_exported) == (plain.results, False)


def test_an_exported_form_is_the_source_of_another(folder: Path) -> None:
    _export(folder)
    second = Form("second", ("numpy",), _write, source=EXPORTED)
    place = converted_model(folder, second, with_qa_head=True).folder
    assert (place / "weights").read_text() == "int8 True", "made of the folder toys/int8"


def test_results_of_other_files_are_kept_elsewhere(folder: Path) -> None:
    _export(folder)
    first = converted_model(folder, EXPORTED, with_qa_head=True)
    assert converted_model(folder, EXPORTED, with_qa_head=True) == first
    (folder / "toys/int8/weights").write_bytes(b"another weights!")
    record = folder / "_export.json"
    before, after = (sha256(data).hexdigest() for data in (b"exported weights", b"another weights!"))
    record.write_text(record.read_text().replace(before, after))
    assert converted_model(folder, EXPORTED, with_qa_head=True).results != first.results


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_an_export_of_other_weights_is_not_used_and_that_is_said(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    _export(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert not is_converted(folder, EXPORTED)
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING, logger="spanmill.model"):
        found = converted_model(folder, EXPORTED, with_qa_head=True)
    assert not found.is_exported
    (said,) = caplog.messages
    assert "were changed since it was exported, so its form toy is not used" in said
    assert "export it again" in said


def test_a_damaged_file_of_an_export_is_named_with_the_mend(folder: Path, tmp_path: Path) -> None:
    _export(folder)
    (folder / "toys/int8/words").write_bytes(b"exported w\xffrds")
    with pytest.raises(ModelError, match=r"toys/int8/words is not what was exported: .*remove _export\.json"):
        converted_model(folder, EXPORTED, with_qa_head=True)
    (folder / "toys/int8/words").unlink()
    with pytest.raises(ModelError, match=r"toys/int8/words is missing, .*export the model again"):
        converted_model(folder, EXPORTED, with_qa_head=True)
    assert not (tmp_path / "cache").exists()
    (folder / "_export.json").unlink()
    assert not converted_model(folder, EXPORTED, with_qa_head=True).is_exported


def test_an_export_without_this_form_is_converted(folder: Path) -> None:
    _export(folder)
    other = replace(EXPORTED, exported=ExportedAs("toys", "float32", "toys/float32"))
    assert not converted_model(folder, other, with_qa_head=True).is_exported
    assert not converted_model(folder, EXPORTED, with_qa_head=False).is_exported, "of another head"
    for name in ("weights", "words"):
        (folder / "toys/int8" / name).unlink()
    assert not converted_model(folder, EXPORTED, with_qa_head=True).is_exported, "downloaded without it"


def test_nothing_is_converted_where_the_packages_for_it_are_not_known(folder: Path) -> None:
    absent = replace(TOY, packages=("no-such-package",))
    assert not is_converted(folder, absent)
    _export(folder)
    exported = replace(EXPORTED, packages=("no-such-package",))
    assert is_converted(folder, exported)
    assert converted_model(folder, exported, with_qa_head=True).is_exported
