"""Numbers in sentences."""

import pytest

from pipelines.words import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "row") == text
