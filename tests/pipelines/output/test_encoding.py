"""Tables as the bytes of a part."""

import datetime
import decimal
import io

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.parameters import EmbeddingParameters, QAParameters
from pipelines.output.encoding import _values, to_jsonl, to_parquet
from pipelines.schemas import output_schema

SCHEMA = output_schema(
    pa.schema([("day", pa.date32())]), Wanted(QAParameters(top_k=2), EmbeddingParameters(dtype="float16")), 3
)


@pytest.fixture
def table() -> pa.Table:
    answers = [
        [{"answer": "é", "score": 0.1, "start": 1, "end": 2}],
        [{"answer": None, "score": 0.5, "start": None, "end": None}],
    ]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float16) / 4), 3)
    return pa.table([["a", "b"], [datetime.date(2020, 1, 2), None], answers, vectors], schema=SCHEMA)


def test_parquet(table: pa.Table) -> None:
    file = pq.ParquetFile(io.BytesIO(to_parquet(table, {"job": "abc", "rows": "2"})))
    assert file.read().equals(table)
    assert file.metadata.metadata[b"spanmill.job"] == b"abc"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.remove_metadata() == SCHEMA


def test_an_empty_parquet_part_keeps_the_schema() -> None:
    assert pq.read_schema(io.BytesIO(to_parquet(SCHEMA.empty_table(), {}))).remove_metadata() == SCHEMA


def test_jsonl(table: pa.Table) -> None:
    lines = to_jsonl(table).splitlines()
    assert orjson.loads(lines[0]) == {
        "id": "a",
        "day": "2020-01-02",
        "answers": [{"answer": "é", "score": 0.1, "start": 1, "end": 2}],
        "embedding": [0.0, 0.25, 0.5],
    }
    assert orjson.loads(lines[1])["answers"][0]["answer"] is None
    assert to_jsonl(table.slice(1)).splitlines() == lines[1:]
    assert to_jsonl(SCHEMA.empty_table()) == b""


def test_jsonl_of_odd_values() -> None:
    table = pa.table(
        {
            "bytes": [b"\xff"],
            "decimal": [decimal.Decimal("1.50")],
            "nan": [float("nan")],
            "delta": [datetime.timedelta(1)],
        }
    )
    assert orjson.loads(to_jsonl(table)) == {"bytes": "/w==", "decimal": "1.50", "nan": None, "delta": "1 day, 0:00:00"}


def test_jsonl_of_times() -> None:
    """orjson writes 37,619 microseconds as .37619."""
    moment = datetime.time(1, 2, 3, 37_619)
    table = pa.table({"time": [moment], "inside": [[{"time": moment, "day": datetime.date(2020, 1, 2)}]]})
    text = "01:02:03.037619"
    assert orjson.loads(to_jsonl(table)) == {"time": text, "inside": [{"time": text, "day": "2020-01-02"}]}


def test_jsonl_of_times_that_python_cannot_hold() -> None:
    column = pa.chunked_array([pa.array([0, 2**60], pa.timestamp("s")), pa.array([None], pa.timestamp("s"))])
    lines = [orjson.loads(line)["at"] for line in to_jsonl(pa.table({"at": column})).splitlines()]
    assert lines == ["1970-01-01T00:00:00", f"<value out of range: {2**60}>", None]


@pytest.mark.parametrize("type", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.float64(), 2)])
@pytest.mark.parametrize("name", ["carried", "token_vectors"])
def test_a_number_is_written_in_one_way_whatever_else_its_part_holds(name: str, type: pa.DataType) -> None:
    rows = pa.array([[0.1, 1.1], [0.1, None], None, [1.1, 0.1]], type)
    together = to_jsonl(pa.table({name: rows})).splitlines()
    alone = [to_jsonl(pa.table({name: rows.slice(number, 1)})).strip() for number in range(4)]
    assert together == alone
    assert together[1].endswith(b",null]}")
    # As in parts of earlier versions, which know lists that are carried, and vectors of one length.
    is_short = name != "carried" or type != pa.list_(pa.float32())
    assert (
        together[3] == f'{{"{name}":[{"1.1,0.1" if is_short else "1.100000023841858,0.10000000149011612"}]}}'.encode()
    )


def test_a_matrix_of_any_floats_is_not_taken_apart() -> None:
    for numbers in (pa.float16(), pa.float32(), pa.float64()):
        column = pa.chunked_array([pa.array([[0.5, 1.5]] * 3, pa.list_(numbers, 2))])
        assert all(isinstance(row, np.ndarray) for row in _values(column, "carried"))


def test_embeddings_with_nulls_are_written_too() -> None:
    vectors = pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))
    lines = to_jsonl(pa.table({"embedding": vectors})).splitlines()
    assert lines == [b'{"embedding":[1.0,2.0]}', b'{"embedding":null}']
