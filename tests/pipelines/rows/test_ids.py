"""Ids are text or whole numbers, in whatever type they come."""

import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipelines.rows.ids import id_texts, id_texts_of_values

UUID = uuid.UUID(int=7)
OID = pa.struct([("$oid", pa.string())])


@pytest.mark.parametrize(
    ("values", "type", "ids", "refused"),
    [
        (["007", "", None], pa.string(), ["007", "", None], []),
        ([1, None], pa.int8(), ["1", None], []),
        ([2**64 - 1], pa.uint64(), [str(2**64 - 1)], []),
        ([1.0, None, 1.5, math.nan, math.inf, 2.0**63, -0.0], pa.float64(), ["1", *[None] * 5, "0"], [2, 4, 5]),
        ([1.0], pa.float16(), ["1"], []),
        ([Decimal(10**37)], pa.decimal128(38, 0), [str(10**37)], []),
        ([Decimal("1.00"), Decimal("10.50"), None], pa.decimal128(5, 2), ["1", None, None], [1]),
        ([UUID.bytes, None], pa.uuid(), [str(UUID), None], []),
        ([{"$oid": "5f"}, None, {"$oid": None}], OID, ["5f", None, None], [2]),
        ([{"oid": "5f"}], pa.struct([("oid", pa.string())]), [None], [0]),
        ([True, None], pa.bool_(), [None, None], [0]),
        ([b"x"], pa.binary(), [None], [0]),
        ([[1]], pa.list_(pa.int8()), [None], [0]),
        ([None], pa.null(), [None], []),
    ],
)
def test_ids_of_columns(values: list[Any], type: pa.DataType, ids: list[str | None], refused: list[int]) -> None:
    texts, flags = id_texts(pa.array(values, type))
    assert texts.type == pa.string()
    assert (texts.to_pylist(), flags.nonzero()[0].tolist()) == (ids, refused)


def test_ids_of_json() -> None:
    values: dict[Any, str | None] = {
        "a": "a",
        7: "7",
        2**70: str(2**70),
        8.0: "8",
        1.5: None,
        2.0**63: None,
    }
    objects = [{"$oid": "5f"}, {"$numberLong": "9"}, {"$oid": {"$oid": "5f"}}, {"$oid": "5f", "x": 1}, [], True, None]
    texts, refused = id_texts_of_values([*values, *objects])
    assert texts.to_pylist() == [*values.values(), "5f", "9", None, None, None, None, None]
    assert refused.nonzero()[0].tolist() == [4, 5, 8, 9, 10, 11]
    assert id_texts_of_values([None, None])[0].to_pylist() == [None, None]
