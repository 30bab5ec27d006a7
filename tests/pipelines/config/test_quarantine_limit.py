"""How many bad rows are too many."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.quarantine_limit import QuarantineLimit
from pipelines.errors import JobError
from pipelines.output.receipt import RECEIPT_SCHEMA
from pipelines.output.row_counts import RowCounts

ROWS = st.integers(0, 10**12)


def _counts(rows: int, **reasons: int) -> RowCounts:
    return RowCounts(rows, sum(reasons.values()), Counter(reasons), RECEIPT_SCHEMA.empty_table(), 0)


@given(count=ROWS, quarantined=ROWS, rows=ROWS)
def test_a_count_is_passed_by_more_rows_whatever_the_others(count: int, quarantined: int, rows: int) -> None:
    limit = QuarantineLimit.parse(f" {count} ")
    assert limit == QuarantineLimit(count, None)
    assert limit.is_passed(quarantined, rows) == (quarantined > count)


@given(hundredths=st.integers(0, 10_000), quarantined=st.integers(0, 10**6), good=st.integers(0, 10**6))
def test_a_share_is_passed_by_more_than_that_share_of_all_rows(hundredths: int, quarantined: int, good: int) -> None:
    limit = QuarantineLimit.parse(f"{hundredths / 100} %")
    rows = quarantined + good
    assert limit.is_passed(quarantined, rows) == (quarantined * 10_000 > hundredths * rows)


@given(st.one_of(ROWS.map(str), st.integers(0, 1000).map(lambda tenths: f"{tenths / 10}%")))
def test_what_is_shown_is_understood_again(text: str) -> None:
    limit = QuarantineLimit.parse(text)
    assert QuarantineLimit.parse(str(limit).replace(",", "")) == limit


@pytest.mark.parametrize(("text", "rows"), [("0", 0), ("0%", 0), ("3", 3), ("0.7%", 7), ("100%", 1000)])
def test_as_many_as_may_be_are_not_too_many(text: str, rows: int) -> None:
    QuarantineLimit.parse(text).check(_counts(1000 - rows, null_text=rows))


@pytest.mark.parametrize("text", ["", "%", "-1", "1.5", "101%", "-1%", "1e3", "a", "5 rows", "nan%", "1%%"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a number of rows \(100\) or a share of them \(0\.5%\)"):
        QuarantineLimit.parse(text)


@pytest.mark.parametrize(("text", "shown"), [("10", r"\(10\)"), ("0.5%", r"\(0\.5%\)")])
def test_the_complaint_names_numbers_reasons_and_the_mend(text: str, shown: str) -> None:
    counts = _counts(1000, null_text=7, crashed=1, malformed_json=1200)
    with pytest.raises(JobError, match=rf"^1,208 of 2,208 rows .*max_quarantined {shown}") as raised:
        QuarantineLimit.parse(text).check(counts)
    assert "malformed_json 1,200, null_text 7, crashed 1" in str(raised.value)
    assert "run the same command again" in str(raised.value)


def test_reasons_that_no_receipt_tells_lie_in_the_quarantine() -> None:
    counts = RowCounts(0, 5, Counter(), RECEIPT_SCHEMA.empty_table(), 1)
    assert "_quarantine" in QuarantineLimit.parse("1").complaint(counts)
