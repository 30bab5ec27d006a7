"""What DuckDB queries: how parts are named to it, and which types the lines of JSONL parts have."""

import duckdb
import pyarrow as pa
import pytest

from pipelines.errors import StorageError
from pipelines.output.parts import ShardId
from pipelines.view.columns import PartColumns
from pipelines.view.job_output import JobOutput
from pipelines.view.row_tables import (
    InPlaceTable,
    RowKey,
    RowTable,
    code,
    has_virtual_names,
    json_array,
    literal,
    load,
    read_columns,
)

NONE = PartColumns.of(pa.schema([]), frozenset())


@pytest.mark.parametrize("text", ["plain", "it's", "''; DROP TABLE x; --", "\\'", "Łódź\n"])
def test_a_literal_is_the_text_itself(text: str) -> None:
    with duckdb.connect() as database:
        assert database.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]


def test_places_grow_with_the_plan_and_lead_back_to_the_shard() -> None:
    shards = [ShardId(0, 0, False), ShardId(0, 70_000, True), ShardId(1, 2, True), ShardId(3_000_000, 0, True)]
    codes = [code(shard) for shard in shards]
    assert codes == sorted(codes)
    keys = [RowTable("rows", NONE).key(one, 7) for one in codes]
    assert keys == [RowKey(shard.unit, shard.number, 7) for shard in shards]
    assert [InPlaceTable("rows", NONE, tuple(shards)).key(place, 7) for place in range(4)] == keys
    assert str(keys[1]) == "0-70000-7"


def test_names_that_duckdb_adds_to_the_columns_of_a_file() -> None:
    def has(name: str) -> bool:
        return has_virtual_names(PartColumns.of(pa.schema([(name, pa.string())]), frozenset([name])))

    assert [has(name) for name in ("File_Row_Number", "filename", "file_index", "file")] == [True, True, True, False]


def test_what_is_no_text_in_a_line_is_written_as_json() -> None:
    assert json_array(["a", None, 1, {"b": [True]}], pa.string()).to_pylist() == ["a", None, "1", '{"b":[true]}']
    assert json_array([1, None], pa.int64()).to_pylist() == [1, None]


@pytest.mark.parametrize("known", [0, 1])
def test_what_was_read_half_way_is_read_again(known: int) -> None:
    """A store may fail at any part."""
    schema = pa.schema([("id", pa.string())])
    shards = [ShardId(0, number, False) for number in range(20)]
    broken = {17}

    def read(shard: ShardId) -> pa.Table:
        if shard.number in broken:
            raise StorageError("the network is gone")
        return pa.table({"c0": [f"q{shard.number}"]})

    with duckdb.connect() as database:
        table = RowTable("rows", PartColumns.of(schema, frozenset(["id"])))
        table = load(database, table, shards[:known], read, lambda done, all: None)
        with pytest.raises(StorageError):
            load(database, table, shards, read, lambda done, all: None)
        broken.clear()
        table = load(database, table, shards, read, lambda done, all: None)
        assert table.shards == tuple(shards)
        assert database.execute("SELECT count(*), count(DISTINCT v0) FROM rows").fetchall() == [(20, 20)]


def test_parts_of_both_formats_have_the_same_columns(towns: JobOutput) -> None:
    columns = read_columns(towns, towns.shards())
    kinds = ["text", "text", "number", "text", "number", "number", "number"]
    assert [column.name for column in columns.listed] == ["id", "title", "year", "answer", "score", "start", "end"]
    assert [column.kind for column in columns.listed] == kinds
    assert read_columns(towns, []).listed == ()
