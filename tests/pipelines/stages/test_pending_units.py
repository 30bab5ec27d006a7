"""What is left of a plan."""

from pathlib import Path

import pyarrow as pa

from pipelines.output.parts import Committed
from pipelines.planning.plan import Plan
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import jsonl, plan_of, qa_rows


def _plan(folder: Path) -> Plan:
    for name in "abc":
        (folder / f"{name}.jsonl").write_bytes(jsonl(qa_rows(9)))
    return plan_of(folder, shard_rows=4)


def test_units_that_are_not_complete_are_left_with_what_is_committed(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    committed = Committed({0: frozenset({0, 1, 2}), 1: frozenset({0, 2})}, {0: 2, 1: 2}, ())
    pending = PendingUnit.left(plan, committed)
    assert [(left.unit.index, left.file.name, left.committed) for left in pending] == [
        (1, "b.jsonl", frozenset({0, 2})),
        (2, "c.jsonl", frozenset()),
    ]
    assert PendingUnit.left(plan, Committed({}, {}, ()))[0].committed == frozenset()


def test_there_and_back_in_one_table(tmp_path: Path) -> None:
    pending = PendingUnit.left(_plan(tmp_path), Committed({1: frozenset({0, 2})}, {1: 2}, ()))
    table = PendingUnit.to_table(pending)
    assert len(table) == 3
    assert PendingUnit.from_table(table) == pending
    assert PendingUnit.from_table(table.slice(1, 1)) == pending[1:2]
    assert pa.types.is_binary(table["pending"].type)
