"""The command: its words, its exit codes, and what is left of it."""

import json
import signal
from pathlib import Path

import pytest

from pipelines.export.bundle import bundle as bundling
from tests.actors.helpers import GOLDEN
from tests.pipelines.cli.commands.runs import exit_code
from tests.pipelines.processes import Command, stopped

BERT = str(GOLDEN / "models" / "bert")


def test_a_bundle_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ("--set", "qa.top_k=2", "--set", "model.precision=exact", "--set", "max_inputs=7")
    assert exit_code(monkeypatch, "bundle", BERT, str(output), *words) == 0
    said = capsys.readouterr()
    assert "an endpoint for question-answering" in said.out
    assert "trying the handler" in said.err
    settings = json.loads((output / "_bundle.json").read_text())
    assert (settings["qa"]["top_k"], settings["precision"], settings["max_inputs"]) == (2, "exact", 7)
    assert exit_code(monkeypatch, "bundle", BERT, str(output)) == 2
    assert "--overwrite" in capsys.readouterr().err
    # One trial is enough: it takes seconds.
    monkeypatch.setattr(bundling, "_try_handler", lambda folder: None)
    assert exit_code(monkeypatch, "bundle", BERT, str(output), "--overwrite", "--task", "feature-extraction") == 0
    assert json.loads((output / "_bundle.json").read_text())["task"] == "feature-extraction"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing argument 'MODEL'"),
        ((BERT,), "Missing argument 'OUTPUT'"),
        ((BERT, "OUT", "--task", "translation"), "'translation' is not one of"),
        ((BERT, "OUT", "--set", "qa.topk=1"), "qa.topk"),
        ((BERT, "OUT", "--set", "max_inputs=0"), "max_inputs"),
        (("/no/such/model", "OUT"), "there is no folder /no/such/model"),
    ],
)
def test_wrong_use_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    says: str,
) -> None:
    chosen = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    assert exit_code(monkeypatch, "bundle", *chosen) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(monkeypatch, "bundle", "--help") == 0
    said = capsys.readouterr().out
    assert "spanmill bundle minilm-qa endpoint/" in said
    assert "Exit codes: 0 written" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    # Then it loads torch, which takes seconds.
    command = Command(("spanmill", "bundle", BERT, "out"), tmp_path)
    code, said = stopped(command, number, once_it_says="trying the handler")
    assert code == 130
    assert "stopped; nothing was written" in said
    assert list(tmp_path.iterdir()) == []
