"""Embed jobs whose rows are chunks of texts: what they write, how they count, and how they go on."""

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from transformers import DistilBertForQuestionAnswering

import spanmill
from actors.engine.inference_task import Wanted
from actors.models.loading import load_engine, load_spec
from actors.parameters import BatchingParameters, ChunkParameters, EmbeddingParameters, ModelParameters
from actors.tokenization.chunked_texts import prepare_chunks
from pipelines.cli.commands.run_job import run_job as run_command
from pipelines.cli.commands.status import show_status
from pipelines.config.job import EmbedConfig
from pipelines.config.loader import load_config
from pipelines.job.finished_job import find_finished
from pipelines.job.job import find_places
from tests.pipelines.jobs import mixed_rows, parts, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")

SHARDS = 3


def _documents() -> list[dict[str, Any]]:
    texts = [f"{row['context']} {row['question']}" for row in mixed_rows(8)]
    rows: list[dict[str, Any]] = [{"id": f"d{n}", "text": text, "year": 1900 + n} for n, text in enumerate(texts)]
    # The same text twice, one without tokens, one of a single chunk, and a long one.
    rows[5]["text"] = rows[2]["text"]
    rows[3]["text"] = "\u200b"
    rows[6]["text"] = "Ada keeps goats."
    rows[7]["text"] = "\n\n".join(texts)
    return rows


def _expected(model: Path, rows: list[dict[str, Any]], keys: dict[str, Any]) -> tuple[pa.Table, Any]:
    """Chunks and vectors of documents without pipeline, files or Ray."""
    chunk, embedding = ChunkParameters(**keys), EmbeddingParameters(doc_stride=32, max_seq_len=64)
    texts = pa.array([row["text"] for row in rows])
    prepared, _, chunks = prepare_chunks(load_spec(model), embedding, chunk, texts)
    batching = BatchingParameters(fixed_windows=4)
    engine = load_engine(model, ModelParameters(device="cpu", threads=1), batching, with_qa_head=False)
    task = engine.begin(prepared, Wanted(embedding=embedding, late_chunks=chunk.context == "document"))
    return chunks, engine.finish(task).embeddings


def _receipts(output: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((output / "_receipts").iterdir())])


def test_a_row_for_every_chunk_and_a_count_of_both(
    tmp_path: Path, untrained_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, output = _documents(), tmp_path / "out"
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    keys: dict[str, Any] = {"tokens": 24, "overlap": 8, "by": "sentence", "text": True}
    settings: dict[str, Any] = {
        "model": {"name": str(untrained_model), "threads": 1},
        "corpus": {"carry": ["year"], "shard_rows": SHARDS},
        "embedding": {"doc_stride": 32, "max_seq_len": 64},
        "chunk": keys,
    }
    done = spanmill.embed(corpus, output, quiet=True, **settings)
    chunks, vectors = _expected(untrained_model, rows, keys)

    table = done.to_arrow()
    assert table.column_names == ["id", "document_id", "year", "chunk", "start", "end", "text", "embedding"]
    kept = [row for row in rows if row is not rows[3]]
    for row, chunk in zip(table.to_pylist(), chunks.to_pylist(), strict=True):
        document = kept[chunk["row"]]
        assert row["document_id"] == document["id"]
        assert row["id"] == f"{document['id']}#{chunk['key']}"
        assert row["year"] == document["year"]
        assert (row["chunk"], row["start"], row["end"]) == (chunk["chunk"], chunk["start"], chunk["end"])
        assert row["text"] == document["text"][row["start"] : row["end"]]
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), vectors, atol=1e-5)
    assert len(set(table["id"].to_pylist())) == len(table)

    # Rows of the input = rows in the output + rows in quarantine, and chunks are counted beside them.
    assert (done.rows, done.written, done.quarantined, done.chunks) == (8, 7, 1, len(chunks))
    assert done.reasons == {"no_tokens": 1}
    receipts = _receipts(output).sort_by("number")
    assert receipts["rows"].to_pylist() == [3, 2, 2]
    assert sum(receipts["chunks"].to_pylist()) == len(chunks)
    assert receipts["answered"].to_pylist() == [3, 2, 2]
    success = orjson.loads((output / "_SUCCESS").read_bytes())
    assert (success["input_rows"], success["written_rows"], success["written_chunks"]) == (8, 7, len(chunks))
    totals = orjson.loads((output / "_report.json").read_bytes())["totals"]
    assert (totals["input_rows"], totals["written_rows"], totals["written_chunks"]) == (8, 7, len(chunks))
    assert f"<b>{len(chunks)}</b>chunks of them" in (output / "_report.html").read_text()
    assert pq.read_metadata(parts(output)[0]).metadata[b"spanmill.documents"] == b"3"

    # A part is lost, and with it all receipts: its shard is computed again, the others are counted in the parts.
    parts(output)[1].unlink()
    rmtree(output / "_receipts")
    config = load_config(EmbedConfig, None, [])
    config = EmbedConfig.model_validate({**config.model_dump(), **settings})
    capsys.readouterr()
    assert run_command(config, [str(corpus)], str(output)) == 0
    said = " ".join(capsys.readouterr().out.split())
    again = done.to_arrow()
    assert again.drop(["embedding"]) == table.drop(["embedding"])
    np.testing.assert_allclose(np.array(again["embedding"].to_pylist()), vectors, atol=1e-5)
    assert "documents 3 of 8 in the whole job" in said
    assert f"of {len(chunks)} in the whole job, a row of the output each" in said
    assert _receipts(output)["rows"].to_pylist() == [2]
    show_status(str(output), {})
    said = " ".join(capsys.readouterr().out.split())
    assert "documents 8" in said
    assert f"chunks {len(chunks)}, a row of the output each" in said

    # Nothing is left to do, which is found without the model.
    finished = find_finished(find_places([str(corpus)], str(output), config), config, None)
    assert finished is not None
    assert (finished.total, finished.chunks) == (8, len(chunks))
    other = config.model_copy(update={"chunk": ChunkParameters(tokens=23)})
    assert find_finished(find_places([str(corpus)], str(output), other), other, None) is None


@pytest.mark.more
def test_a_document_with_a_chunk_that_breaks_the_model_is_quarantined_whole(
    tmp_path: Path, untrained_model: Path
) -> None:
    model = Path(copytree(untrained_model, tmp_path / "model"))
    network = DistilBertForQuestionAnswering.from_pretrained(untrained_model)
    with torch.no_grad():
        poison = Tokenizer.from_file(str(model / "tokenizer.json")).token_to_id("[MASK]")
        network.distilbert.embeddings.word_embeddings.weight[poison] = float("nan")
    network.save_pretrained(model)
    rows = _documents()
    rows[1]["text"] = f"{rows[1]['text']} And then [MASK] came."
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    keys = {"tokens": 16, "by": "tokens", "context": "chunk"}
    done = spanmill.embed(
        corpus,
        tmp_path / "out",
        limit=5,
        quiet=True,
        model={"name": str(model), "threads": 1},
        embedding={"doc_stride": 32, "max_seq_len": 64},
        output={"format": "jsonl"},
        ray={"passes": 1},
        chunk=keys,
    )
    chunks, vectors = _expected(model, [rows[n] for n in (0, 2, 4)], keys)
    table = done.to_arrow()
    assert table.column_names == ["id", "document_id", "chunk", "start", "end", "embedding"]
    assert table["chunk"].to_pylist() == chunks["chunk"].to_pylist()
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), vectors, atol=1e-5)
    assert done.reasons == {"failed": 1, "no_tokens": 1}
    assert done.quarantine()["id"].to_pylist() == ["d1", "d3"]
    assert (done.rows, done.written, done.quarantined, done.chunks) == (5, 3, 2, len(chunks))
