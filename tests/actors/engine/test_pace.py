import pytest

from actors.engine.pace import Pace


def test_it_follows_what_is_seen() -> None:
    pace = Pace(2.0)
    assert pace.per_unit == 2.0
    pace.observe(0.0, 9.0)
    assert pace.per_unit == 2.0
    for _ in range(50):
        pace.observe(10.0, 30.0)
    assert pace.per_unit == pytest.approx(3.0)
    for _ in range(50):
        pace.observe(10.0, 5.0)
    assert pace.per_unit == pytest.approx(0.5, rel=0.05)


def test_long_work_counts_for_more() -> None:
    pace = Pace(1.0)
    pace.observe(100.0, 100.0)
    pace.observe(0.01, 1.0)
    assert pace.per_unit == pytest.approx(1.0, rel=0.02)


def test_a_single_hang_hardly_counts_and_a_slow_device_soon_does() -> None:
    pace = Pace(1.0)
    for _ in range(50):
        pace.observe(1.0, 1.0)
    pace.observe(1.0, 1000.0)
    assert pace.per_unit < 1.3
    for _ in range(30):
        pace.observe(1.0, 10.0)
    assert pace.per_unit > 8


def test_what_is_believed_at_first_counts_for_as_much_work_as_is_said() -> None:
    forgets, keeps = Pace(1.0), Pace(1.0, seen=9.0)
    for pace in (forgets, keeps):
        pace.observe(0.9, 1.8)
    assert forgets.per_unit == pytest.approx(2.0)
    assert keeps.per_unit == pytest.approx((0.9 * 9 + 1.8) / (0.9 * 9 + 0.9))
