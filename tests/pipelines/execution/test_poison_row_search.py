"""Rows that break the model or its worker, among rows that do not."""

import os
import re
import signal
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from transformers import DistilBertForQuestionAnswering

from actors.errors import NoRoom
from actors.parameters import QAParameters
from pipelines.cli.commands.run_job import run_job
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.errors import JobError
from pipelines.execution import stage_factory
from pipelines.execution.outcome import POISON_ROWS
from pipelines.stages.messages import RawMessage, TokenizedMessage
from pipelines.stages.prepare import PrepareStage
from tests.pipelines import jobs
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import bare_engine, mixed_rows, part_rows, same_answer, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")

POISON, MARK = "[MASK]", "deadly"
"""A word of which a model below computes NaN, and one at which workers die."""


def _model_with_nan(model: Path, folder: Path, everywhere: bool) -> Path:
    """A copy of the model that computes NaN of POISON, or of whatever it is given."""
    copytree(model, folder)
    network = DistilBertForQuestionAnswering.from_pretrained(model)
    with torch.no_grad():
        weights = network.distilbert.embeddings.word_embeddings.weight
        poison = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(POISON)
        weights[slice(None) if everywhere else poison] = float("nan")
    network.save_pretrained(folder)
    return folder


def _with(row: dict[str, Any], word: str) -> dict[str, Any]:
    return {**row, "context": f"{row['context']} {word}"}


def test_rows_that_break_things_are_quarantined_and_every_other_row_is_answered(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Deadly(PrepareStage):
        def process(self, message: RawMessage) -> TokenizedMessage:
            if MARK.encode() in message.rows.data.to_pybytes():
                os.kill(os.getpid(), signal.SIGKILL)
            return PrepareStage.process(self, message)

    monkeypatch.setattr(stage_factory, "PrepareStage", Deadly)
    model = _model_with_nan(untrained_model, tmp_path / "model", everywhere=False)
    rows = mixed_rows(8)
    poison = {rows[0]["id"]: "crashed", rows[3]["id"]: "failed", rows[4]["id"]: "failed"}
    lines: list[object] = [
        _with(row, MARK if poison[row["id"]] == "crashed" else POISON) if row["id"] in poison else row for row in rows
    ]
    # Three shards: a row that crashes and two good ones; two rows of NaN around a line that is none; good rows.
    write_jsonl(tmp_path / "in.jsonl", [*lines[:4], b"{", *lines[4:]])
    words = ("corpus.shard_rows=3", "ray.passes=1")
    ran = jobs.run_job([tmp_path / "in.jsonl"], tmp_path / "out", model, *words)

    quarantine = pq.read_table(tmp_path / "out" / "_quarantine").to_pylist()
    assert [(row["id"], row["reason"]) for row in quarantine] == [
        (rows[0]["id"], "crashed"),
        (rows[3]["id"], "failed"),
        (None, "malformed_json"),
        (rows[4]["id"], "failed"),
    ]
    assert "the worker died of this row" in quarantine[0]["detail"]
    assert "the model computes NaN" in quarantine[1]["detail"]
    assert MARK in quarantine[0]["row"]
    found, good = part_rows(tmp_path / "out"), [row for row in rows if row["id"] not in poison]
    expected = bare_engine(untrained_model, good, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in good]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))

    outcome = ran.outcome
    assert (outcome.poison_rows, outcome.counts.rows, outcome.counts.quarantined) == (3, 5, 4)
    assert outcome.counts.reasons == {"crashed": 1, "failed": 2, "malformed_json": 1}
    assert outcome.tally.failures == {}
    assert "shard 0-0: 3 rows fail together, halving them" in ran.log
    assert "shard 0-2" not in ran.log
    assert (tmp_path / "out" / "_SUCCESS").exists()

    # What is complete stays complete, and whoever asks again is told again.
    config = load_config(AnswerConfig, None, [f"model.name={model}", *words])
    assert run_job(config, [str(tmp_path / "in.jsonl")], str(tmp_path / "out")) == POISON_ROWS
    said = capsys.readouterr().out
    assert re.search(r"complete: 9 rows, nothing to do\n\s*quarantined +4\n", said)
    assert "3 rows broke the model or its worker" in said


@pytest.mark.more
def test_a_model_that_fails_on_every_row_is_not_blamed_on_the_rows(tmp_path: Path, untrained_model: Path) -> None:
    model = _model_with_nan(untrained_model, tmp_path / "model", everywhere=True)
    write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(3))
    write_jsonl(tmp_path / "in" / "b.jsonl", qa_rows(36))
    with pytest.raises(JobError, match="2 of 2 read units are not complete") as raised:
        jobs.run_job([tmp_path / "in"], tmp_path / "out", model, "corpus.shard_rows=12", "ray.passes=1")
    assert "every row fails alone, and no shard was ever computed" in str(raised.value)
    assert "more than 8 rows of one shard fail alone" in str(raised.value)
    assert "the model computes NaN" in str(raised.value)
    assert [path.name for path in (tmp_path / "out").glob("part-*")] == []
    assert not (tmp_path / "out" / "_quarantine").exists()
    assert not (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.more
def test_no_row_is_blamed_for_a_device_without_room(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(PrepareStage):
        def process(self, message: RawMessage) -> TokenizedMessage:
            if MARK.encode() in message.rows.data.to_pybytes():
                raise NoRoom("a window of 384 tokens has no room in the device's memory")
            return PrepareStage.process(self, message)

    monkeypatch.setattr(stage_factory, "PrepareStage", Full)
    rows = mixed_rows(4)
    write_jsonl(tmp_path / "in.jsonl", [_with(rows[0], MARK), *rows[1:]])
    words = ("corpus.shard_rows=2", "ray.passes=1")
    with pytest.raises(
        JobError, match=r"has no room in the device's memory\. Others have taken the memory, so the rows"
    ):
        jobs.run_job([tmp_path / "in.jsonl"], tmp_path / "out", untrained_model, *words)
    assert len(part_rows(tmp_path / "out")) == 2, "the other shard stays"
    assert not (tmp_path / "out" / "_quarantine").exists()
