"""Rows over the time at work."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.output.parts import ShardId
from pipelines.output.receipt import RECEIPT_SCHEMA, Receipt
from pipelines.reporting.throughput_curve import MOST_POINTS, ThroughputCurve, throughput_curve

NIGHT = 40_000.0


def receipts(*shards: tuple[str, float, float, int]) -> pa.Table:
    """Receipts with (run, started, committed, rows)."""
    made = [
        Receipt(ShardId(0, number, False), "a", rows=rows, started=started, committed=committed)
        for number, (_, started, committed, rows) in enumerate(shards)
    ]
    return Receipt.to_table(made).append_column("run", pa.array([run for run, *_ in shards], pa.string()))


def test_nothing_was_done() -> None:
    none = RECEIPT_SCHEMA.append(pa.field("run", pa.string())).empty_table()
    assert throughput_curve(none, np.zeros(0, np.int64)) == ThroughputCurve(0.0, [], [], [])


def test_rows_are_spread_over_the_time_that_they_took_and_nights_are_left_out() -> None:
    begin = 1.7e9
    table = receipts(
        *(("a", begin + i, begin + i + 1, 10) for i in range(6)),
        *(("b", begin + NIGHT + i, begin + NIGHT + i + 2, 80) for i in (0, 2, 4)),
    )
    found = throughput_curve(table, np.array([5] * 6 + [6] * 3))
    assert found.seconds_per_point == pytest.approx(4.0)
    assert found.run_starts == pytest.approx([0.0, 6.0])
    # 4 s of the first run, 2 s of it and 2 s of the second, 4 s of the second.
    assert found.rows == pytest.approx([10.0, 25.0, 40.0], abs=1e-2)
    assert found.tokens == pytest.approx([5.0, 4.0, 3.0], abs=0.1)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1e6), st.floats(0.01, 500), st.integers(1, 1000)),
        min_size=1,
        max_size=50,
    )
)
def test_no_row_is_lost_whatever_the_clocks_say(shards: list[tuple[str, float, float, int]]) -> None:
    table = receipts(*((run, 1.7e9 + start, 1.7e9 + start + took, rows) for run, start, took, rows in shards))
    found = throughput_curve(table, table["rows"].to_numpy())
    assert len(found.rows) <= MOST_POINTS
    total = sum(rows for *_, rows in shards)
    assert sum(found.rows) * found.seconds_per_point == pytest.approx(total, rel=1e-3)
    assert min(found.rows) > -1e-3


def test_a_writer_whose_clock_is_behind() -> None:
    found = throughput_curve(receipts(("a", 1.7e9 + 5, 1.7e9, 10)), np.array([3]))
    assert len(found.rows) == 1
    assert found.rows[0] * found.seconds_per_point == pytest.approx(10, rel=1e-3)
