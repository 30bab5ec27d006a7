import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.bench.environments import own
from pipelines.bench.rows import slices_of
from pipelines.bench.worker import Worker, working
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import load_config
from pipelines.errors import ConfigError, NotThereError
from tests.actors.helpers import GOLDEN
from tests.pipelines.bench.toys import toy
from tests.pipelines.jobs import write_jsonl

MODEL = GOLDEN / "models" / "distilbert"


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Worker]:
    (tmp_path / "toy").mkdir()
    with working(own(), toy(tmp_path / "toy"), {}) as worker:
        yield worker


@pytest.mark.parametrize("task", ["answer", "embed"])
def test_rounds_share_no_row(task: str, tmp_path: Path, reference: Worker) -> None:
    config = AnswerConfig() if task == "answer" else EmbedConfig()
    found = slices_of([], config, task, MODEL, 8, 2, tmp_path, reference)  # type: ignore[arg-type]
    last = [tuple(part.columns.values())[-1] for part in (found.warm, *found.rounds)]
    assert [len(texts) for texts in last] == [8, 8, 8]
    assert len(set().union(*last)) == 24
    assert json.loads(found.rounds[1].path.read_text()) == found.rounds[1].columns
    assert found.rounds[0].part(1, 2, tmp_path).rows == 4


def test_a_corpus_with_names_of_its_own(tmp_path: Path, reference: Worker) -> None:
    rows = [{"ask": f"Who is {n}?", "body": f"{n} is Ada.", "id": str(n)} for n in range(20)]
    rows.append({"ask": "", "body": "No question.", "id": "bad"})
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    config = load_config(AnswerConfig, None, ["corpus.columns={question: ask, context: body}"])
    found = slices_of([str(path)], config, "answer", MODEL, 100, 2, tmp_path, reference)
    # All that there are, in equal rounds; each once.
    assert [part.rows for part in found.rounds] == [8, 8]
    questions = [text for part in (found.warm, *found.rounds) for text in part.columns["question"]]
    assert sorted(questions) == sorted(row["ask"] for row in rows[:20])


def test_a_large_corpus_is_sampled(tmp_path: Path, reference: Worker) -> None:
    rows = [{"text": f"text {n}", "id": str(n)} for n in range(3000)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    found = slices_of([str(path)], EmbedConfig(), "embed", MODEL, 20, 1, tmp_path, reference)
    places = [int(text.split()[1]) for text in found.rounds[0].columns["text"]]
    assert len(set(places)) == 20
    assert max(places) - min(places) > 1000


def test_too_few_rows_and_none_are_errors(tmp_path: Path, reference: Worker) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": f"text {n}"} for n in range(5)])
    with pytest.raises(ConfigError, match="5 rows that can be used, too few for 3 rounds; name more INPUT, or lower"):
        slices_of([str(path)], EmbedConfig(), "embed", MODEL, 20, 3, tmp_path, reference)
    with pytest.raises(NotThereError):
        slices_of([str(tmp_path / "none.jsonl")], EmbedConfig(), "embed", MODEL, 20, 3, tmp_path, reference)
