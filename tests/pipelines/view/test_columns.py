"""Which columns are listed, and what of them is searched."""

import pyarrow as pa
import pytest

from pipelines.view.columns import Kind, PartColumns

_BEST = pa.struct([("answer", pa.string()), ("score", pa.float64()), ("start", pa.int32()), ("end", pa.int32())])


@pytest.mark.parametrize(
    ("type", "kind", "is_searched"),
    [
        (pa.string(), "text", True),
        (pa.large_string(), "text", True),
        (pa.dictionary(pa.int8(), pa.string()), "text", True),
        (pa.int64(), "number", False),
        (pa.float32(), "number", False),
        (pa.decimal128(5, 2), "number", False),
        (pa.bool_(), "boolean", False),
        (pa.timestamp("us", "UTC"), "time", False),
        (pa.date32(), "time", False),
        (pa.binary(), "bytes", False),
        (pa.list_(pa.string()), "nested", True),
        (pa.struct([("a", pa.int8())]), "nested", True),
    ],
)
def test_kinds_of_carried_columns(type: pa.DataType, kind: Kind, is_searched: bool) -> None:
    [column] = PartColumns.of(pa.schema([("x; DROP", type)]), frozenset(["x; DROP"])).listed
    assert (column.kind, bool(column.searched)) == (kind, is_searched)
    assert "DROP" not in column.expression + column.searched


def test_what_a_job_adds_and_is_nested_is_heavy() -> None:
    vector = pa.list_(pa.float32(), 4)
    schema = pa.schema(
        [("id", pa.string()), ("tags", pa.list_(pa.string())), ("score", pa.float64()), ("embedding", vector)]
    )
    columns = PartColumns.of(schema, frozenset(["tags"]))
    assert [column.name for column in columns.listed] == ["id", "tags", "score"]
    assert (columns.heavy, columns.light, columns.read) == (
        ("embedding",),
        ["id", "tags", "score"],
        ["id", "tags", "score"],
    )


def test_the_best_of_several_answers_stands_for_them() -> None:
    columns = PartColumns.of(pa.schema([("id", pa.string()), ("answers", pa.list_(_BEST))]), frozenset())
    assert [column.name for column in columns.listed] == ["id", "answer", "score", "start", "end"]
    assert columns.light == ["id", "answers"]
    assert (columns.index("answer"), columns.index("answers")) == (1, None)
