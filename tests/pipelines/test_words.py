"""Numbers and rows in sentences."""

import pytest

from pipelines.words import counted, of_bytes, of_lengths, row_line


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "row") == text


def test_a_row_is_one_line_and_its_long_values_are_cut() -> None:
    line = row_line({"id": "q0", "answer": "a\nb" + "x" * 999, "score": None})
    assert line.startswith("id='q0'  answer='a\\nbx")
    assert line.endswith("x...  score=None")
    assert len(line) < 200


def test_windows_by_length() -> None:
    assert of_lengths({128: 7.25, 192: 6.0}, digits=1) == "7.2 of 128 tokens, 6.0 of 192"
    assert of_lengths({64: 3.0}, digits=0) == "3 of 64 tokens"


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.0 B"), (999, "999.0 B"), (1500, "1.5 kB"), (2.25e9, "2.2 GB"), (3e15, "3,000.0 TB")]
)
def test_bytes_in_units_of_a_thousand(amount: float, text: str) -> None:
    assert of_bytes(amount) == text
