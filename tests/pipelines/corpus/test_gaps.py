"""What is lost of a damaged file, counted and told."""

import pyarrow as pa

from pipelines.corpus.gaps import Gap, gaps_of, quarantined_gaps, with_gaps
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.stages.messages import IpcTable

TABLE = pa.table({"n": [1, 2]})


def test_a_gap_is_sliced_as_its_rows_would_be() -> None:
    gap = Gap(100, 10, "why")
    assert len(gap) == 10
    assert gap.slice(3, 4) == Gap(103, 4, "why")


def test_it_travels_with_the_rows_around_it() -> None:
    gaps = [Gap(5, 2, "why"), Gap(9, 0, "wherefore")]
    table = IpcTable.of(with_gaps(TABLE, gaps)).read()
    assert gaps_of(table) == gaps
    assert table.equals(TABLE)
    assert gaps_of(with_gaps(TABLE, [])) == gaps_of(table.replace_schema_metadata()) == []


def test_it_says_how_much_is_lost_where_that_is_known() -> None:
    rows = quarantined_gaps([Gap(5, 1200, "why"), Gap(9, 0, "y" * 600)], "a", "unreadable", 500)
    assert rows.schema == QUARANTINE_SCHEMA
    first, second = rows.to_pylist()
    assert first == {
        "id": None,
        "file": "a",
        "place": 5,
        "reason": "unreadable",
        "detail": "1,200 rows are lost. why",
        "row": "",
    }
    assert second["detail"].startswith("what follows is lost. y")
    assert len(second["detail"]) == 500
