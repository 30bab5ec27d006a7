"""Parquet files: footers and rows; what is damaged says so."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.formats.parquet import _damage, read_footer, read_groups
from pipelines.corpus.gaps import Gap
from pipelines.corpus.listing import list_files
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import DamagedError, MissingError, StorageError
from tests.pipelines.helpers import qa_rows, spoil_group

NEEDED = ("id", "question", "context")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.Table.from_pylist(qa_rows(25)).append_column("more", pa.array(range(25))), path, row_group_size=10
    )
    return path


def _file(path: Path) -> SourceFile:
    return list_files([str(path)], CorpusParameters())[0]


def test_footer(path: Path) -> None:
    footer = read_footer(_file(path), NEEDED, {})
    assert footer.schema.names == ["id", "question", "context", "more"]
    assert footer.group_rows == (10, 10, 5)
    assert all(size > 0 for size in footer.group_bytes)
    assert sum(read_footer(_file(path), ("id",), {}).group_bytes) < sum(footer.group_bytes)


def test_rows_carry_their_number_in_the_file(path: Path) -> None:
    tables = list(read_groups(_file(path), range(1, 3), 10, (*NEEDED, "absent"), 4, {}, lambda first, stop: True))
    table = pa.concat_tables(tables)
    assert table["_row"].to_pylist() == list(range(10, 25))
    assert table.select(NEEDED).to_pylist() == qa_rows(25)[10:]
    assert table["absent"].null_count == 15
    assert max(map(len, tables)) <= 4


def test_unwanted_groups_are_not_read(path: Path) -> None:
    asked = []

    def is_wanted(first: int, stop: int) -> bool:
        asked.append((first, stop))
        return first == 10

    tables = list(read_groups(_file(path), range(3), 0, NEEDED, 100, {}, is_wanted))
    assert asked == [(0, 10), (10, 20), (20, 25)]
    assert [table.column_names for table in tables if isinstance(table, pa.Table)] == [
        ["_row"],
        [*NEEDED, "_row"],
        ["_row"],
    ]
    assert sum(map(len, tables)) == 25


@pytest.mark.parametrize("keep", [0, 3, -20])
def test_a_file_cut_short(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match=r"a\.parquet: damaged, cut short .* Replace"):
        read_footer(_file(path), NEEDED, {})


def test_a_damaged_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[10:200] = b"\xff" * 190
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"a\.parquet: damaged"):
        list(read_groups(_file(path), range(3), 0, NEEDED, 100, {}, lambda first, stop: True))


def test_a_file_that_vanished(path: Path) -> None:
    file = _file(path)
    path.unlink()
    with pytest.raises(MissingError, match=r"a\.parquet"):
        read_footer(file, NEEDED, {})


def test_other_row_groups_go_on_behind_a_damaged_one(path: Path) -> None:
    spoil_group(path, 1)
    first, gap, last = read_groups(_file(path), range(3), 0, NEEDED, 100, {}, lambda first, stop: True, keep_on=True)
    assert isinstance(gap, Gap)
    assert (gap.place, gap.rows, len(first), len(last)) == (10, 10, 10, 5)
    assert gap.message.startswith("a.parquet: damaged")


def test_a_disk_that_fails_is_no_damage(path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.parquet: reading failed: .*Input/output error"):
        _damage(_file(path), OSError(5, "Input/output error"))
