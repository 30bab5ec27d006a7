"""The card of a model that was made here."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from huggingface_hub import ModelCard

from actors.training.dataset import UntrainableReason
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.corpus.source_file import SourceFile
from pipelines.evaluation.squad import EXAMPLE_SCHEMA, SkippedRows
from pipelines.storage.url import Url
from pipelines.training.dataset import TrainingData
from pipelines.training.messages import HeldOutScores
from pipelines.training.model_card import Card, render_card

ROW: dict[str, Any] = {"id": "a", "question": "q", "context": "c", "answer_texts": ["c"], "answer_starts": [0]}
NO_ANSWER = ROW | {"answer_texts": [], "answer_starts": []}
HISTORY = [HeldOutScores(0, 12, 1.25, 2.5), HeldOutScores(1500, 12, 71.0, 80.04)]


def _card(*words: str, history: list[HeldOutScores] = HISTORY, left_out: list[SkippedRows] | None = None) -> str:
    examples = pa.Table.from_pylist([ROW] * 1200 + [NO_ANSWER] * 30, schema=EXAMPLE_SCHEMA)
    files = (SourceFile(Url("s3://b/train.jsonl"), "train.jsonl", 12, "v1", "jsonl", None),)
    data = TrainingData(examples, examples[:12], files, ("3 rows left out, no question: train.jsonl@0, ...",))
    config = load_config(FinetuneConfig, None, words)
    return render_card(Card.of(config, data, left_out or [], history))


def _metadata(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    metadata: dict[str, Any] = yaml.safe_load(head)
    return metadata


def test_the_hub_reads_it() -> None:
    text = _card("output.license=apache-2.0", "base.name=distilbert/distilbert-base-uncased")
    assert _metadata(text) == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "question-answering",
        "base_model": "distilbert/distilbert-base-uncased",
        "tags": ["extractive-qa", "spanmill"],
    }
    assert ModelCard(text).data.get("license") == "apache-2.0"


@pytest.mark.parametrize("base", ["./mine", "/models/mine", "s3://bucket/model", "tests/golden", "tests", "~/mine"])
def test_a_base_that_is_not_on_the_hub_is_no_base_model_there(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    text = _card(f"base.name={base}")
    assert "base_model" not in _metadata(text)
    assert f"fine-tuned from `{base}` by Spanmill" in text


def test_it_says_what_was_done_and_how_well() -> None:
    left_out = [SkippedRows(UntrainableReason.NO_WINDOW, 1234, ("r1", "r2"))]
    text = _card("halve=true", "teacher.name=big/teacher", "data.held_out=[dev.json]", left_out=left_out)
    assert "It was halved and fine-tuned from `distilbert/distilbert-base-uncased` with `big/teacher` as its" in text
    assert "Answerable questions of dev.json," in text
    assert "\n| 0 (the base) | 12 | 1.2 | 2.5 |\n| 1500 | 12 | 71.0 | 80.0 |\n" in text
    assert "1,230 rows, 30 of them unanswerable, from train.jsonl.\n" in text
    assert "\n* 3 rows left out, no question: train.jsonl@0, ...\n" in text
    line = "* 1,234 rows left out, no window of qa.max_seq_len tokens holds the whole answer: r1, r2, ..."
    assert f"were not learnt from:\n{line}\n" in text
    settings = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    assert settings == {
        "qa": FinetuneConfig().qa.model_dump(),
        "training": FinetuneConfig().training.model_dump(),
    }


def test_a_share_that_was_held_out_is_named() -> None:
    assert "Answerable questions of 12.5% of the passages, which were not learnt from," in _card(
        "data.held_out_share=0.125"
    )


def test_without_held_out_rows_nothing_is_claimed() -> None:
    text = _card("data.held_out_share=0", history=[])
    assert "Nothing was held out, so nothing is known." in text
    assert "Answerable questions of" not in text
    assert "not learnt from" not in text


def test_secrets_do_not_get_into_it() -> None:
    groups = ("data", "output", "checkpoints", "base", "teacher")
    text = _card(*(f'{name}.storage={{"secret": "hush"}}' for name in groups), "ray.address=ray://hush:10001")
    assert "hush" not in text
