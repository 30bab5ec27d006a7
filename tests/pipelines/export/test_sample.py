"""The rows that forms are compared on."""

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import CorpusError
from pipelines.export.sample import built_in_sample, read_sample


def _rows(count: int) -> list[dict[str, object]]:
    return [
        {"question": f"Which is it, {i}?", "context": f"It is {i}.", "answers": {"text": [str(i)], "answer_start": [6]}}
        for i in range(count)
    ]


def test_the_built_in_answers_stand_in_their_passages() -> None:
    sample = built_in_sample()
    assert len(sample.questions) == len(set(sample.questions)) == len(sample.passages) == len(sample.gold) == 24
    assert all(answer in passage for passage, (answer,) in zip(sample.passages, sample.gold, strict=True))
    assert sample.score is not None
    assert all(sample.score(f"the {gold[0].upper()}!", gold) == 1.0 for gold in sample.gold)
    assert len(set(sample.passages[:6])) > 3, "every beginning is spread"
    assert [len(built_in_sample(rows).questions) for rows in (0, 5, 100)] == [0, 5, 24]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_of_a_file_are_spread_over_it(tmp_path: Path, kind: str) -> None:
    file, rows = tmp_path / f"rows.{kind}", _rows(100)
    if kind == "jsonl":
        file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    sample = read_sample([str(file)], {}, rows=10)
    numbers = sorted(int(gold[0]) for gold in sample.gold)
    assert numbers == list(range(0, 100, 10))
    assert all(f"It is {gold[0]}." == passage for passage, gold in zip(sample.passages, sample.gold, strict=True))
    assert read_sample([str(file)], {}).questions == read_sample([str(file)], {}).questions
    assert len(read_sample([str(file)], {}).questions) == 100


def test_a_file_without_examples_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"question": "Who?"}\n')
    with pytest.raises(CorpusError, match=r"rows\.jsonl"):
        read_sample([str(tmp_path / "rows.jsonl")], {})
