"""Columns of lists of numbers in both formats of parts: what the engine gives is what is read back."""

from dataclasses import replace

import orjson
import pyarrow as pa
import pytest

from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.models.loading import load_engine
from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    TokenVectorParameters,
)
from actors.tokenization.preprocess import prepare_pairs
from pipelines.output.decoding import from_jsonl
from pipelines.output.encoding import from_parquet, to_jsonl, to_parquet
from pipelines.schemas import output_schema
from tests.actors.helpers import GOLDEN, strings

QA = QAParameters(max_seq_len=24, doc_stride=4, handle_impossible_answer=True)
WANTED = Wanted(
    QA,
    EmbeddingParameters(),
    token_texts=True,
    token_vectors=TokenVectorParameters(layers=1),
    layer_vectors=True,
    attention=AttentionParameters(top=2),
    attribution=True,
)
DENSE = replace(
    WANTED, attention=AttentionParameters(top=None, layers=(2,)), token_vectors=TokenVectorParameters(dtype="float16")
)
SMALL = replace(WANTED, token_vectors=TokenVectorParameters(dtype="int8"))


@pytest.fixture(scope="module")
def tables() -> list[pa.Table]:
    """Of a model that abstains from one of the questions."""
    folder = GOLDEN / "models" / "distilbert"
    engine = load_engine(folder, ModelParameters(device="cpu", threads=1), BatchingParameters(), True)
    passages = ["Agnes Bell lit the lamp in 1837 and kept it — naïve or not — for forty years.", "Ada keeps goats."]
    questions, contexts = strings(["Who lit it?", "How many?"]), strings(passages)
    found = []
    for wanted in (WANTED, DENSE, SMALL):
        prepared, _ = prepare_pairs(engine.spec, QA, questions, contexts, keep_texts=True)
        table = to_table(wanted_columns(wanted), engine.finish(engine.begin(prepared, wanted)), wanted)
        schema = output_schema(pa.schema([]), wanted, engine.hidden_size, layers=2)
        found.append(table.add_column(0, "id", pa.array(["a", "b"])).cast(schema))
    assert found[0]["attribution"].null_count == 1
    return found


def test_parquet(tables: list[pa.Table]) -> None:
    for table in tables:
        assert from_parquet(to_parquet(table, {})).equals(table)


def test_json_lines(tables: list[pa.Table]) -> None:
    for table in tables:
        assert from_jsonl(to_jsonl(table), table.schema).equals(table)
        chunks = pa.concat_tables([table.slice(1), table.slice(0, 1), table.slice(0, 0)])
        assert to_jsonl(chunks).splitlines() == to_jsonl(table).splitlines()[::-1]


def test_json_lines_hold_plain_lists_and_objects(tables: list[pa.Table]) -> None:
    usual, dense, small = ([orjson.loads(line) for line in to_jsonl(table).splitlines()] for table in tables)
    row = usual[0]
    assert row["tokens"][-1] == {"text": ".", "id": row["tokens"][-1]["id"], "start": 76, "end": 77}
    assert len(row["token_vectors"]) == len(row["tokens"])
    assert (len(row["hidden"]), len(row["hidden"][0])) == (3, 32)
    window = row["attention"][0]
    assert (window["layers"], window["heads"], window["top"]) == ([1, 2], 2, 2)
    assert len(window["weights"]) == len(window["targets"]) == 2 * 2 * len(window["tokens"]) * 2
    assert (dense[0]["attention"][0]["targets"], dense[0]["attention"][0]["top"]) == (None, None)
    assert set(small[0]["token_vectors"]) == {"values", "scales"}


def test_carried_columns_beside_them_are_written_as_ever() -> None:
    """Floats of 64 bits, and structs that hold other things than numbers, take the way that they always took."""
    mixed = pa.struct([("a", pa.list_(pa.float32())), ("b", pa.binary())])
    table = pa.table(
        {
            "doubles": pa.array([[0.1, None], None], pa.list_(pa.float64())),
            "floats": pa.array([[0.5, None], None], pa.list_(pa.float32())),
            "mixed": pa.array([{"a": [1.5], "b": b"x"}, None], mixed),
        }
    )
    assert [orjson.loads(line) for line in to_jsonl(table).splitlines()] == [
        {"doubles": [0.1, None], "floats": [0.5, None], "mixed": {"a": [1.5], "b": "eA=="}},
        {"doubles": None, "floats": None, "mixed": None},
    ]
