"""What `--dry-run` prints of columns and rows."""

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.cli.commands.dry_run import show_plan
from pipelines.config.job import EmbedConfig
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


def _shown(folder: Path, model: Path, *words: str) -> str:
    said = io.StringIO()
    show_plan(make_job([folder], folder.parent / "out", model, *words), Console(file=said, width=1000))
    return said.getvalue()


def test_nested_views_and_uuids(tmp_path: Path, untrained_model: Path) -> None:
    (tmp_path / "in").mkdir()
    uuids = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array([b"\0" * 16], pa.uuid()))
    table = pa.Table.from_pylist(qa_rows(1)).append_column("refs", uuids)
    for name, type in (
        ("tags", pa.list_(pa.string_view())),
        ("seen", pa.list_view(pa.struct([("at", pa.binary_view())]))),
        ("words", pa.map_(pa.string_view(), pa.string_view())),
    ):
        values = {"tags": ["x"], "seen": [{"at": b"y"}], "words": [("a", "b")]}
        table = table.append_column(name, pa.array([values[name]], type))
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    text = _shown(tmp_path / "in", untrained_model, "corpus.carry=[tags, seen, words, refs]")
    assert "tags: list<element: string>" in text
    assert "tags=['x']  seen=[{'at': b'y'}]  words=[('a', 'b')]  refs=[UUID('00000000-" in text


def test_the_precision_with_its_reason(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(1))
    assert "precision float32 (model.precision: auto, on CPUs)\n" in _shown(
        tmp_path / "in", untrained_model, "pool.gpus=0"
    )
    on_gpu = _shown(tmp_path / "in", untrained_model, "model.device=cuda")
    assert "precision float16 (hidden states against float32: float16 0." in on_gpu


def test_how_much_it_writes(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(8))
    text = _shown(tmp_path / "in", untrained_model, "embedding.dtype=float16")
    assert "in all; before compression, from " in text
    assert "tokens a row in a sample of 8 rows" in text
    assert "  embedding: 256.0 B a row, 2.0 kB in all" in text
    assert "warning" not in text


def test_values_that_do_not_fit(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [{**qa_rows(1)[0], "zip": "02134", "id": 1.5}])
    text = _shown(tmp_path / "in", untrained_model, "corpus.carry=[zip]", "corpus.types={zip: int64}")
    assert "'zip': 1 value does not fit the column's type and is null" in text
    assert "'id': 1 id of another kind than text and whole numbers" in text


def test_how_many_chunks_a_document_has(tmp_path: Path, untrained_model: Path) -> None:
    texts = ["Ada keeps goats.", " ".join(["Ada keeps goats."] * 9), " "]
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    said = io.StringIO()
    words = ("chunk.tokens=30", "chunk.by=sentence")
    job = make_job([tmp_path / "in"], tmp_path / "out", untrained_model, *words, kind=EmbedConfig)
    show_plan(job, Console(file=said, width=1000))
    found = re.search(r"chunks: ([\d.]+) a document \(1 to (\d+)\) in a sample of 2 documents", said.getvalue())
    assert found is not None
    assert float(found[1]) == (1 + int(found[2])) / 2
    assert int(found[2]) > 1
    assert "document_id: string" in said.getvalue()
