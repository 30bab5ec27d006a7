"""One row with all that its part holds."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from pipelines.errors import MissingError
from pipelines.view.catalog import Catalog
from pipelines.view.job_output import JobOutput
from pipelines.view.row_tables import RowKey, RowTable, read_columns
from pipelines.view.whole_row import ListItem, outline, read_item, read_row, read_value, to_json
from tests.pipelines.view.outputs import ANSWERS, TOWNS, Added, write_output

TOKENS = pa.list_(pa.struct([("text", pa.string()), ("id", pa.int32()), ("start", pa.int32()), ("end", pa.int32())]))
ADDED: Added = {
    "tokens": (TOKENS, lambda row: [{"text": row["context"][:2], "id": 7, "start": 0, "end": 2}]),
    "token_vectors": (pa.list_(pa.list_(pa.float32(), 2)), lambda row: [[3.0, 4.0], [0.0, float(row["id"][1:])]]),
}


def _row(output: JobOutput, key: RowKey) -> dict[str, Any]:
    return dict(read_row(output, _table(output), key).values)


def _table(output: JobOutput) -> RowTable:
    shards = output.shards()
    return RowTable("rows", read_columns(output, shards), tuple(shards))


def test_a_row_is_whole(catalog: Catalog) -> None:
    output = catalog.outputs[0].output
    assert _row(output, RowKey(0, 0, 1)) == {
        "id": "q1",
        "title": "Bo",
        "year": 1816,
        "answer": "Bo",
        "score": 0.5,
        "start": 2,
        "end": 4,
    }


@pytest.mark.parametrize("key", [RowKey(0, 0, 2), RowKey(0, 7, 0), RowKey(3, 0, 0)])
def test_a_row_that_is_not_there_is_missing(catalog: Catalog, key: RowKey) -> None:
    with pytest.raises(MissingError, match=r"no part|has no row"):
        _row(catalog.outputs[0].output, key)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_heavy_columns_are_read_by_themselves(tmp_path: Path, form: str) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, f"output.format={form}", folder=tmp_path, added=ADDED)
    table = _table(output)
    row = read_row(output, table, RowKey(0, 2, 0))
    assert set(row.heavy) == {"tokens", "token_vectors"}
    assert not set(row.heavy) & set(row.values)
    assert read_value(output, table, RowKey(0, 2, 0), "tokens") == [{"text": "דנ", "id": 7, "start": 0, "end": 2}]
    assert read_value(output, table, RowKey(0, 2, 1), "token_vectors") == [[3.0, 4.0], [0.0, 5.0]]
    assert read_item(output, table, RowKey(0, 2, 1), "token_vectors", 1) == ListItem(2, [0.0, 5.0])
    assert read_item(output, table, RowKey(0, 2, 1), "token_vectors", 2) == ListItem(2, None)


def test_a_row_is_found_without_listing_the_folder(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand parts in an object store that takes a dozen calls."""
    opened = catalog.outputs[0]
    monkeypatch.setattr(JobOutput, "shards", None)
    assert read_row(opened.output, opened.rows, RowKey(0, 0, 1)).values["id"] == "q1"


def test_rows_of_any_row_group_and_of_names_with_dots(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    output = write_output(tmp_path / "out", TOWNS, ANSWERS, "corpus.shard_rows=6", folder=tmp_path)
    [part] = (tmp_path / "out").glob("part-*")
    table = pq.read_table(part)
    table = table.append_column("a.b", table["id"]).append_column("a", pa.array([{"b": n} for n in range(len(table))]))
    pq.write_table(table, part, row_group_size=2)
    assert _row(output, RowKey(0, 0, 3))["a.b"] == "q4"
    assert [_row(output, RowKey(0, 0, n))["id"] for n in range(5)] == ["q0", "q1", "q3", "q4", "q5"]


def test_vectors_are_told_by_shape_and_length() -> None:
    assert outline([3.0, 4.0]) == {"shape": [2], "norm": 5.0, "first": [3.0, 4.0]}
    assert outline([[3.0, 4.0], [0.0, 1.0]]) == {"shape": [2, 2], "norm": 3.0, "first": [3.0, 4.0, 0.0, 1.0]}
    assert len(outline(list(range(100)))["first"]) == 24
    assert outline([]) == {"shape": [0], "norm": 0.0, "first": []}
    of_int8 = outline({"values": [[6, 8], [0, 2]], "scales": [0.5, 1.0]})
    assert of_int8 == {"shape": [2, 2], "norm": 3.5, "first": [3.0, 4.0, 0.0, 2.0]}
    assert outline({"a": 1}) == {"shape": [1]}


def test_values_that_json_lacks_are_written() -> None:
    value = {"b": b"\x00\x01", "nan": float("nan"), "d": Decimal("1.50"), 3: None}
    assert orjson.loads(to_json(value)) == {"b": "AAE=", "nan": None, "d": "1.50", "3": None}
