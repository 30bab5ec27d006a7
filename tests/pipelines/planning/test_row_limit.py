"""The first N rows, whatever the format."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import CorpusError
from pipelines.planning.plan import Plan
from pipelines.planning.row_limit import limit_rows
from tests.pipelines.helpers import compressed, jsonl, plan_of, qa_rows, quarantine_of, rows_of, validate_all


def _parquet(folder: Path) -> Path:
    for name, rows in (("a", qa_rows(25)), ("b", qa_rows(50)[25:])):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", row_group_size=10)
    return folder


def _jsonl(folder: Path) -> Path:
    (folder / "a.jsonl").write_bytes(b"\xef\xbb\xbf\r\n" + jsonl(qa_rows(25)).replace(b"\n", b"\r\n\r\n"))
    (folder / "b.jsonl.gz").write_bytes(compressed(jsonl(qa_rows(50)[25:]), "gzip"))
    return folder


def _ids(plan: Plan) -> list[Any]:
    return [row["id"] for row in rows_of(validate_all(plan))]


@pytest.mark.parametrize("write", [_parquet, _jsonl])
@pytest.mark.parametrize("limit", [1, 10, 11, 25, 26, 50, 99])
def test_exactly_the_first_rows(tmp_path: Path, write: Any, limit: int) -> None:
    plan = limit_rows(plan_of(write(tmp_path), shard_rows=4, unit_bytes=300), limit, {})
    assert _ids(plan) == [f"q{i}" for i in range(min(limit, 50))]
    assert plan.row_estimate == min(limit, 50)
    assert plan.expected_shards == len(validate_all(plan))


def test_bad_rows_count_as_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([b"{", *qa_rows(9)]))
    plan = limit_rows(plan_of(tmp_path), 3, {})
    assert _ids(plan) == ["q0", "q1"]


def test_only_as_many_files_are_read_as_the_limit_needs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(qa_rows(5)))
    # Damaged where the plan does not look.
    (tmp_path / "b.jsonl.gz").write_bytes(compressed(b"\n" * 100_000 + jsonl(qa_rows(5)), "gzip")[:-9])
    assert _ids(limit_rows(plan_of(tmp_path), 5, {})) == [f"q{i}" for i in range(5)]


def test_a_damage_is_met_only_where_the_limit_lies_behind_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(compressed(jsonl(qa_rows(200)), "gzip")[:-9])
    (tmp_path / "b.jsonl").write_bytes(jsonl(qa_rows(300)[200:]))
    plan = plan_of(tmp_path, damaged="quarantine")
    assert quarantine_of(validate_all(limit_rows(plan, 50, {}))) == []
    limited = limit_rows(plan, 250, {})
    shards = validate_all(limited)
    assert len(rows_of(shards)) == limited.row_estimate == 250
    assert [row["reason"] for row in quarantine_of(shards)] == ["unreadable"]
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz"):
        limit_rows(replace(plan, layout=replace(plan.layout, damaged="fail")), 250, {})
