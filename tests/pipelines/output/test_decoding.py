"""Parts of JSON Lines read back into the types of their job."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.engine.inference_task import Wanted
from actors.parameters import EmbeddingParameters, QAParameters
from pipelines.errors import JobError
from pipelines.output.decoding import from_jsonl
from pipelines.output.encoding import to_jsonl
from pipelines.schemas import empty_table, output_schema

MOMENT = datetime(2020, 1, 2, 3, 4, 5, 37_619)
VALUES: list[tuple[pa.DataType, Any]] = [
    (pa.bool_(), True),
    (pa.int8(), -5),
    (pa.uint64(), 2**64 - 1),
    (pa.float16(), 0.25),
    (pa.float32(), float(np.float32(0.1))),
    (pa.float64(), 0.1),
    (pa.decimal128(5, 2), Decimal("1.50")),
    (pa.decimal256(70, 0), Decimal(10**60)),
    (pa.string(), "é \u2028 line\nend"),
    (pa.large_string(), "02134"),
    (pa.binary(), b"\xff\x00"),
    (pa.large_binary(), b""),
    (pa.binary(2), b"ab"),
    (pa.uuid(), uuid.UUID(int=7)),
    (pa.date32(), date(2020, 1, 2)),
    (pa.date64(), date(2020, 1, 2)),
    (pa.time32("ms"), time(1, 2, 3, 50_000)),
    (pa.time64("us"), time(1, 2, 3, 37_619)),
    (pa.timestamp("us"), MOMENT),
    (pa.timestamp("s"), MOMENT.replace(microsecond=0)),
    (pa.timestamp("ns", "UTC"), MOMENT.replace(tzinfo=UTC)),
    (pa.timestamp("ms", "Europe/Berlin"), MOMENT.replace(tzinfo=UTC, microsecond=0)),
    (pa.list_(pa.binary()), [b"a", None]),
    (pa.large_list(pa.string()), []),
    (pa.list_(pa.float32(), 2), [1.5, None]),
    (pa.struct([("a", pa.binary()), ("b", pa.list_(pa.date32()))]), {"a": b"x", "b": [date(2020, 1, 2)]}),
    (pa.map_(pa.string(), pa.binary()), [("k", b"v"), ("n", None)]),
]


@pytest.mark.parametrize(("type", "value"), VALUES, ids=lambda one: str(one) if isinstance(one, pa.DataType) else "")
def test_carried_values_are_what_they_were(type: pa.DataType, value: Any) -> None:
    table = pa.table({"x": pa.array([value, None, value], type), "n": [1, 2, 3]})
    assert from_jsonl(to_jsonl(table), table.schema).equals(table)
    assert from_jsonl(b"", table.schema).equals(empty_table(table.schema))


def test_uuids_within_structs() -> None:
    ids = pa.array([uuid.UUID(int=7), None], pa.uuid())
    table = pa.table({"x": pa.StructArray.from_arrays([ids], names=["a"])})
    assert from_jsonl(to_jsonl(table), table.schema).equals(table)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_results_are_what_they_were(dtype: Any) -> None:
    wanted = Wanted(QAParameters(top_k=2, null_score=True), EmbeddingParameters(dtype=dtype))
    schema = output_schema(pa.schema([]), wanted, 3)
    answers = [
        [{"answer": "é", "score": 0.1, "start": 1, "end": 2}],
        [{"answer": None, "score": 0.5, "start": None, "end": None}],
    ]
    numbers = np.random.default_rng(1).normal(size=6).astype(dtype)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 3)
    table = pa.table([["a", "b"], answers, [0.25, None], vectors], schema=schema)
    assert from_jsonl(to_jsonl(table), schema).equals(table)


def test_what_json_cannot_keep_is_an_error_that_names_the_column_and_the_mend() -> None:
    table = pa.table({"lasts": pa.array([None, timedelta(days=1)])})
    with pytest.raises(JobError, match=r"column 'lasts' of type duration.*1 day, 0:00:00.*output\.format=parquet"):
        from_jsonl(to_jsonl(table), table.schema)


@pytest.mark.parametrize(("dtype", "numbers"), [("int8", [-127, 0, 127, 5]), ("binary", [0, 128, 255, 1])])
def test_compact_vectors_are_plain_whole_numbers_and_come_back(dtype: str, numbers: list[int]) -> None:
    embedding = EmbeddingParameters.model_validate({"dtype": dtype, "of": ["passage", "question"]})
    schema = output_schema(pa.schema([]), Wanted(QAParameters(), embedding), 4 if dtype == "int8" else 32)
    row = dict.fromkeys(schema.names) | {"id": "q0", "embedding": numbers, "question_embedding": numbers}
    table = pa.Table.from_pylist([row, row | {"question_embedding": None}], schema)
    lines = to_jsonl(table)
    assert f'"embedding":{numbers}'.replace(" ", "").encode() in lines
    assert b'"question_embedding":null' in lines
    assert from_jsonl(lines, schema) == table
