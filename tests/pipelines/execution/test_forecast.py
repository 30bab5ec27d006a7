"""What a sample says of the whole."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.execution.forecast import Interval, make_forecast
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt


def _receipt(number: int, rows: int, seconds: float, committed: float, bad: int = 0) -> Receipt:
    return Receipt(
        ShardId(number, 0, True),
        "a.jsonl",
        rows=rows - bad,
        quarantined=bad,
        bytes=1000 + 50 * (rows - bad),
        committed=committed,
        stats=PassStats({64: LengthBucket(1, rows, rows, rows, seconds)}),
    )


def test_an_even_corpus() -> None:
    # Two seconds of passes for 100 rows, and the next part after 2.5: the actor is busy four fifths of the time.
    pieces = [_receipt(n, 100, 2.0, 10 + 2.5 * n, bad=2) for n in range(20)]
    forecast = make_forecast(pieces, 1, rows=1_000_000, shards=200, empty_part_bytes=1000, startup=30.0)
    assert forecast.sampled == 2000
    assert forecast.seconds_per_row.value == pytest.approx(0.025)
    assert forecast.seconds.value == pytest.approx(25_030)
    assert forecast.seconds.low < 23_000
    assert forecast.seconds.high > 27_000
    assert forecast.output_bytes.value == pytest.approx(49e6 + 200_000)
    assert forecast.quarantined.value == pytest.approx(0.02)
    assert forecast.quarantined.low < 0.016
    assert forecast.quarantined.high > 0.025


def test_what_a_part_takes_is_told_from_what_its_rows_do() -> None:
    pieces = [_receipt(n, 100 if n % 2 else 50, 1.0, float(n)) for n in range(20)]
    dearer = [replace(receipt, bytes=receipt.bytes + 700) for receipt in pieces]
    output = make_forecast(dearer, 1, 1_000_000, 200, empty_part_bytes=1000, startup=0.0).output_bytes
    assert output.value == pytest.approx(200 * 1700 + 50 * 1_000_000)
    assert output.low == pytest.approx(output.high)


def test_two_actors_take_half_the_time() -> None:
    # Two actors side by side: four seconds of passes in every two.
    pieces = [_receipt(n, 100, 2.0, 10 + 1.0 * n) for n in range(21)]
    forecast = make_forecast(pieces, 2, rows=1000, shards=1, empty_part_bytes=1000, startup=0.0)
    assert forecast.seconds.value == pytest.approx(10.0)


def test_nothing_bad_in_the_sample_is_no_promise() -> None:
    pieces = [_receipt(n, 50, 1.0, float(n)) for n in range(8)]
    share = make_forecast(pieces, 1, 10**6, 100, 1000, 0.0).quarantined
    assert (share.value, share.low) == (0.0, 0.0)
    assert 0.003 < share.high < 0.02


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=40), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_figure(costs: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [_receipt(n, int(rng.integers(1, 200)), cost, float(sum(costs[: n + 1]))) for n, cost in enumerate(costs)]
    forecast = make_forecast(pieces, 1, 10**6, 100, 1000, 0.0)
    for interval in (forecast.seconds, forecast.output_bytes, forecast.quarantined):
        assert interval.low <= interval.value * 1.2 + 1e-9
        assert interval.high >= interval.value * 0.8


def test_intervals_scale() -> None:
    assert Interval(2.0, 1.0, 4.0).times(3).plus(1) == Interval(7.0, 4.0, 13.0)
