"""The command: its words, its exit codes, and what is left of it."""

import json
import signal
from pathlib import Path

import pytest

from tests.actors.helpers import GOLDEN
from tests.actors.toy_forms import OFF_NAME
from tests.pipelines.cli.commands.runs import exit_code
from tests.pipelines.processes import Command, stopped

BERT = str(GOLDEN / "models" / "bert")


def test_a_folder_is_written_and_checked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    assert (
        exit_code(
            monkeypatch, "export", BERT, output, "--formats", "pytorch", "--precision", "float32", "--threads", "1"
        )
        == 0
    )
    said = capsys.readouterr()
    assert f"2 forms in {output}" in said.out
    assert "2 of 2: pytorch float32: writing" in said.err
    assert exit_code(monkeypatch, "export", "--check", output, "--threads", "1") == 0
    assert "pytorch" in capsys.readouterr().out
    (tmp_path / "out" / "pytorch_model.bin").write_bytes(b"something else")
    assert exit_code(monkeypatch, "export", "--check", output, "--threads", "1") == 1


def test_rows_of_ones_own_are_what_is_compared_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = {
        "id": "a",
        "question": "Who waits?",
        "context": "Ada waits.",
        "answers": {"text": ["Ada"], "answer_start": [0]},
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    words = ("--formats", "safetensors", "--precision", "float32", "--rows", str(tmp_path / "rows.jsonl"))
    assert exit_code(monkeypatch, "export", BERT, str(tmp_path / "out"), *words) == 0
    record = json.loads((tmp_path / "out" / "_export.json").read_text())
    assert [form["parity"]["rows"] for form in record["forms"]] == [1]


def test_one_that_is_not_kept_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert exit_code(monkeypatch, "export", BERT, str(tmp_path / "out"), "--formats", OFF_NAME) == 1
    assert f"not kept: {OFF_NAME} in float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "needs MODEL and OUTPUT"),
        ((BERT,), 2, "needs MODEL and OUTPUT"),
        (("--check", "x", BERT, "y"), 2, "--check looks at an exported folder and writes nothing"),
        ((BERT, "OUT", "--formats", "onxx"), 2, "there is no 'onxx'"),
        ((BERT, "OUT", "--formats", ","), 2, "--formats names nothing"),
        ((BERT, "OUT", "--precision", "float8"), 2, "no form has 'float8'"),
        ((BERT, "OUT", "--python", "tensorflow"), 2, "is not NAME=PATH"),
        ((BERT, "OUT", "--set", "output.store=x"), 2, "output.store"),
        ((BERT, "OUT", "--rows", "/no/such/rows.json"), 2, "/no/such/rows.json"),
        (("/no/such/model", "OUT"), 2, "there is no folder /no/such/model"),
    ],
)
def test_wrong_use_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    chosen = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    assert exit_code(monkeypatch, "export", *chosen) == code
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(monkeypatch, "export", "--help") == 0
    said = capsys.readouterr().out
    assert "spanmill export minilm-qa exported/" in said
    assert "Exit codes: 0 all forms agree with torch" in said


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.more)])
def test_stopped_it_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    words = ("spanmill", "export", BERT, "out", "--formats", "onnx", "--threads", "1")
    # Then it traces the model, which takes seconds.
    code, said = stopped(Command(words, tmp_path), number, once_it_says="onnx float32: writing")
    assert code == 130
    assert "stopped; nothing was written" in said
    assert list(tmp_path.iterdir()) == []
