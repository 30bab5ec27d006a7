"""Making plans: units, shard sizes, estimates, and what is refused."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import CorpusError
from pipelines.planning.plan import ReadUnit
from pipelines.planning.planner import make_plan
from tests.pipelines.helpers import compressed, jsonl, plan_of, qa_rows, rows_of, validate_all


def _parquet(path: Path, rows: int, group_rows: int) -> Path:
    pq.write_table(pa.Table.from_pylist(qa_rows(max(rows, 1))).slice(0, rows), path, row_group_size=group_rows)
    return path


def test_row_groups_are_packed(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", 100, 10)
    assert plan_of(path).units == (ReadUnit(0, 0, 0, 10, 0, 100),)
    single = plan_of(path, unit_bytes=1).units
    assert single[3] == ReadUnit(3, 0, 3, 4, 30, 10)
    assert len(single) == 10
    packed = plan_of(path, unit_bytes=1500).units
    assert 1 < len(packed) < 10
    assert [unit.start for unit in packed[1:]] == [unit.stop for unit in packed[:-1]]
    assert sum(unit.rows or 0 for unit in packed) == 100
    assert [unit.first_row for unit in packed] == [unit.start * 10 for unit in packed]


def test_lines_are_cut_and_compressed_files_are_not(tmp_path: Path) -> None:
    data = jsonl(qa_rows(100))
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "b.jsonl.gz").write_bytes(compressed(data, "gzip"))
    plan = plan_of(tmp_path, unit_bytes=1000)
    plain = [unit for unit in plan.units if unit.file == 0]
    assert [(unit.start, unit.stop) for unit in plain] == [
        (start, min(start + 1000, len(data))) for start in range(0, len(data), 1000)
    ]
    (packed,) = [unit for unit in plan.units if unit.file == 1]
    assert (packed.start, packed.stop, packed.rows) == (0, plan.files[1].size, None)
    assert [unit.index for unit in plan.units] == list(range(len(plan.units)))


def test_rows_are_estimated(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", 123, 50)
    assert plan_of(tmp_path).row_estimate == 123
    (tmp_path / "b.jsonl").write_bytes(jsonl(qa_rows(5000)))
    assert plan_of(tmp_path).row_estimate == pytest.approx(5123, rel=0.1)


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [(10, None, 64), (12_800, None, 128), (600_000, None, 4096), (8000, 7, 7)],
)
def test_shard_rows(tmp_path: Path, rows: int, given: int | None, expected: int) -> None:
    _parquet(tmp_path / "a.parquet", rows, 100_000)
    parameters = CorpusParameters(shard_rows=given)
    plan = make_plan(list_files([str(tmp_path)], parameters), parameters, "answer")
    assert plan.layout.shard_rows == expected


def test_no_rows_at_all_is_a_plan(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", 0, 10)
    (tmp_path / "b.jsonl").write_bytes(b"")
    plan = plan_of(tmp_path)
    assert [(unit.file, unit.rows) for unit in plan.units] == [(0, 0), (1, None)]
    assert plan.row_estimate == 0


def test_carried_types_hold_what_all_files_have(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{**row, "n": 1} for row in qa_rows(2)]))
    assert plan_of(tmp_path, carry=("n",)).layout.carry == pa.schema({"n": pa.int64()})
    for name, values, type in (("b", [0.5, 2], pa.float64()), ("c", [None, None], pa.null())):
        table = pa.Table.from_pylist(qa_rows(2)).append_column("n", pa.array(values, type))
        pq.write_table(table, tmp_path / f"{name}.parquet")
        layout = plan_of(tmp_path, carry=("n",)).layout
        assert (layout.carry, layout.mixed) == (pa.schema({"n": pa.float64()}), ())
    (tmp_path / "d.jsonl").write_bytes(jsonl([{**row, "n": "2"} for row in qa_rows(2)]))
    layout = plan_of(tmp_path, carry=("n",)).layout
    assert (layout.carry, layout.mixed) == (pa.schema({"n": pa.string()}), ("n",))
    layout = plan_of(tmp_path, carry=("n",), types={"n": "int64"}).layout
    assert (layout.carry, layout.mixed) == (pa.schema({"n": pa.int64()}), ("n",))


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_file_may_lack_a_carried_column(tmp_path: Path, name: str) -> None:
    (tmp_path / "b.jsonl").write_bytes(jsonl([{**row, "n": 1} for row in qa_rows(2)]))
    table = pa.Table.from_pylist(qa_rows(2))
    if name == "a.parquet":
        pq.write_table(table, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(jsonl(qa_rows(2)))
    plan = plan_of(tmp_path, carry=("n",))
    assert [row["n"] for row in rows_of(validate_all(plan))] == [None, None, 1, 1]
    with pytest.raises(CorpusError, match=r"^a\.\w+: there is no column 'm'; it has 'id'"):
        plan_of(tmp_path, carry=("m",))


def test_a_column_of_later_rows_can_be_named_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(qa_rows(2)))
    with pytest.raises(CorpusError, match="no column 'late'"):
        plan_of(tmp_path, carry=("late",))
    layout = plan_of(tmp_path, carry=("late",), types={"late": "list<string>"}).layout
    assert layout.carry == pa.schema({"late": pa.list_(pa.string())})


def test_a_file_without_rows_says_nothing_of_types(tmp_path: Path) -> None:
    for name, rows, type in (("a", 0, pa.string()), ("b", 2, pa.int64())):
        table = pa.Table.from_pylist(qa_rows(2)).append_column("n", pa.array([None, None], type))
        pq.write_table(table.slice(0, rows), tmp_path / f"{name}.parquet")
    assert plan_of(tmp_path, carry=("n",)).layout.carry == pa.schema({"n": pa.int64()})
    (tmp_path / "b.parquet").unlink()
    assert plan_of(tmp_path, carry=("n",)).layout.carry == pa.schema({"n": pa.string()})


def test_heads_are_longer_where_they_are_few(tmp_path: Path) -> None:
    rows = [{**row, "n": None if number < 1000 else number} for number, row in enumerate(qa_rows(2000))]
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows))
    assert plan_of(tmp_path, carry=("n",)).layout.carry == pa.schema({"n": pa.int64()})


def test_a_type_that_cannot_be_carried_is_refused_by_name(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(qa_rows(1))
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table.append_column("n", twice), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"^a\.parquet: column 'n' is of type struct<.*two fields named 'a'.*carry"):
        plan_of(tmp_path, carry=("n",))


def test_plans_are_equal(tmp_path: Path) -> None:
    for number in range(20):
        _parquet(tmp_path / f"{number}.parquet", 50, 10)
    assert plan_of(tmp_path, unit_bytes=500) == plan_of(tmp_path, unit_bytes=500)


def test_every_file_is_checked(tmp_path: Path) -> None:
    for number in range(5):
        _parquet(tmp_path / f"{number}.parquet", 5, 10)
    pq.write_table(pa.table({"id": [1], "question": ["q"], "passage": ["c"]}), tmp_path / "3.parquet")
    with pytest.raises(CorpusError, match=r"3\.parquet: there is no column 'context'"):
        plan_of(tmp_path)
    (tmp_path / "3.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"3\.parquet: damaged"):
        plan_of(tmp_path)


def test_a_wrong_field_name_in_jsonl_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"question": "q", "passage": "c"}]))
    with pytest.raises(CorpusError, match=r"no column 'context'"):
        plan_of(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(jsonl([{**qa_rows(1)[0], "title": "t"}]))
    with pytest.raises(CorpusError, match=r"no column 'titel'.*Did you mean 'title'"):
        plan_of(tmp_path, carry=("titel",))


def test_damaged_files_have_a_unit_where_they_go_to_quarantine(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "c.jsonl.gz").write_bytes(compressed(jsonl(qa_rows(100)), "gzip")[:-9])
    with pytest.raises(CorpusError, match=r"a\.parquet: damaged"):
        plan_of(tmp_path)
    plan = plan_of(tmp_path, damaged="quarantine", carry=("question",))
    assert [(unit.file, unit.start, unit.rows) for unit in plan.units] == [(0, 0, 0), (1, 0, None), (2, 0, None)]
    assert plan.layout.damaged == "quarantine"
    _parquet(tmp_path / "d.parquet", 30, 10)
    plan = plan_of(tmp_path, damaged="quarantine")
    assert plan.units[-1] == ReadUnit(3, 3, 0, 3, 0, 30)


def test_nothing_but_damaged_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"a\.parquet: damaged"):
        plan_of(tmp_path, damaged="quarantine")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(CorpusError, match=r"a\.parquet: damaged"):
        plan_of(tmp_path, damaged="quarantine")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(CorpusError, match=r"b\.jsonl\.gz: the gzip stream is damaged"):
        plan_of(tmp_path, damaged="quarantine")


def test_a_file_without_rows_never_blocks_by_its_columns(tmp_path: Path) -> None:
    _parquet(tmp_path / "b.parquet", 3, 10)
    pq.write_table(pa.table({"question": pa.array([], pa.float64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": [1]}).slice(0, 0), tmp_path / "c.parquet")
    shards = validate_all(plan_of(tmp_path, carry=("context",)))
    assert [len(shard.rows) for shard in shards] == [0, 3, 0]
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(CorpusError, match=r"a\.parquet: column 'question' is of type double"):
        plan_of(tmp_path)
    (tmp_path / "b.jsonl").write_bytes(jsonl(qa_rows(2)))
    assert [len(shard.rows) for shard in validate_all(plan_of(tmp_path))] == [0, 2, 0]


def test_a_file_without_rows_may_have_a_column_twice(tmp_path: Path) -> None:
    _parquet(tmp_path / "b.parquet", 3, 10)
    names = ["question", "context", "context", "n", "n"]
    empty = pa.Table.from_arrays([pa.array([], pa.string())] * 4 + [pa.array([], pa.int64())], names)
    pq.write_table(empty, tmp_path / "a.parquet")
    shards = validate_all(plan_of(tmp_path, carry=("n", "context"), columns={"id": "n"}))
    assert [len(shard.rows) for shard in shards] == [0, 3]
    (tmp_path / "b.parquet").unlink()
    plan = plan_of(tmp_path, carry=("n",))
    assert [len(shard.rows) for shard in validate_all(plan)] == [0]
    assert plan.layout.carry == pa.schema([("n", pa.string())])


def test_a_column_that_is_there_twice_is_refused_if_it_is_needed(tmp_path: Path) -> None:
    names = ["question", "context", "context", "n", "n"]
    table = pa.Table.from_arrays([pa.array(["q"])] * 3 + [pa.array([1])] * 2, names)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"^a\.parquet: there are 2 columns named 'context'.*Rename one"):
        plan_of(tmp_path)
    with pytest.raises(CorpusError, match=r"there are 2 columns named 'n'"):
        plan_of(tmp_path, kind="embed", columns={"text": "question"}, carry=("n",))
    assert len(rows_of(validate_all(plan_of(tmp_path, kind="embed", columns={"text": "question"})))) == 1
