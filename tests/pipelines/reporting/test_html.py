"""The page of a report: its drawings, its numbers, and that it trusts nobody."""

import pytest

from pipelines.reporting.html import duration, nice_top, number, size, steps


def test_steps_fill_the_box_from_left_to_right() -> None:
    found = steps([0.0, 30.0, 60.0])
    assert found.top == 60
    assert found.line == "M0.0,100.0H333.3 L333.3,50.0H666.7 L666.7,0.0H1000.0"
    assert found.area == f"{found.line} V100 H0 Z"


def test_no_steps() -> None:
    assert (steps([]).line, steps([]).area, steps([0.0]).top) == ("", "", 1.0)


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 1.0), (1.0, 1.0), (1.01, 2.0), (0.07, 0.08), (87.0, 100.0), (640, 800)]
)
def test_the_top_of_a_scale(value: float, top: float) -> None:
    assert nice_top(value) == pytest.approx(top)


def test_numbers_for_people() -> None:
    assert [number(value) for value in (0, 1234567, 1.834, 17.25, 123.4, 3.0)] == [
        "0",
        "1,234,567",
        "1.83",
        "17.2",
        "123",
        "3",
    ]
    seconds = (0.0, 0.0123, 4.218, 99.0, 150.0, 14 * 3600.0, 5.1 * 86400)
    assert [duration(value) for value in seconds] == ["0 s", "12.3 ms", "4.22 s", "99 s", "2 min", "14.0 h", "5.1 d"]
    assert [size(value) for value in (0, 999, 85_123, 9.3e9, 2.5e12, 4e15)] == [
        *("0 B", "999 B", "85.1 kB", "9.3 GB", "2 TB", "4,000 TB")
    ]
