"""What every row looks like."""

import pyarrow as pa

from pipelines.config.job import Columns
from pipelines.planning.row_schema import RowSchema


def test_needed_columns_each_once() -> None:
    carry = pa.schema([("title", pa.string()), ("question", pa.string())])
    layout = RowSchema("answer", Columns(question="q", context="c"), carry, 10, 99)
    assert layout.roles == {"question": "q", "context": "c"}
    assert layout.needed == ("id", "q", "c", "title", "question")
    assert RowSchema("embed", Columns(text="id"), pa.schema([]), 10, 99).needed == ("id",)


def test_there_and_back_as_json() -> None:
    carry = pa.schema([("tags", pa.list_(pa.struct([("n", pa.int8())]))), ("at", pa.timestamp("us", "UTC"))])
    layout = RowSchema("embed", Columns(text="body"), carry, 7, 99, "quarantine")
    assert RowSchema.from_json(layout.to_json()) == layout


def test_a_line_has_room_for_texts_of_any_length() -> None:
    def longest(max_text_bytes: int) -> int:
        return RowSchema("answer", Columns(), pa.schema([]), 1, max_text_bytes).max_line_bytes

    assert (longest(10), longest(4 << 20), longest(100 << 20)) == (64 << 20, 64 << 20, 1600 << 20)
