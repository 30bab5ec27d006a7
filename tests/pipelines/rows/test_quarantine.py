"""What is kept of bad rows."""

import orjson
import pyarrow as pa

from pipelines.rows.quarantine import ROW_CHARACTERS, Fault, Faults, Reason, quarantine_rows
from pipelines.schemas import QUARANTINE_SCHEMA


def _quarantine(table: pa.Table, *rows: int, detail: str = "why") -> list[dict[str, object]]:
    ids = pa.chunked_array([[f"i{row}" for row in range(len(table))]], pa.string())
    places = pa.chunked_array([[10 * row for row in range(len(table))]], pa.int64())
    faults = {row: Fault(Reason.EMPTY_TEXT, detail) for row in rows}
    kept = quarantine_rows(table, ids, places, "a.parquet", faults)
    assert kept.schema == QUARANTINE_SCHEMA
    found: list[dict[str, object]] = kept.to_pylist()
    return found


def test_rows_in_order_with_place_and_text() -> None:
    table = pa.table({"text": ["a", "b", "é"], "n": [1, 2, None], "_row": [0, 1, 2]})
    assert _quarantine(table, 2, 0) == [
        {
            "id": "i0",
            "file": "a.parquet",
            "place": 0,
            "reason": "empty_text",
            "detail": "why",
            "row": '{"text":"a","n":1}',
        },
        {
            "id": "i2",
            "file": "a.parquet",
            "place": 20,
            "reason": "empty_text",
            "detail": "why",
            "row": '{"text":"é","n":null}',
        },
    ]


def test_nothing() -> None:
    assert _quarantine(pa.table({"text": ["a"]})) == []


def test_lines_are_kept_raw_cut_and_escaped() -> None:
    table = pa.table({"_line": pa.array([b"\xff{", "😀".encode() * 5000], pa.large_binary()), "_byte": [0, 9]})
    first, second = _quarantine(table, 0, 1)
    assert first["row"] == "\\xff{"
    assert second["row"] == "😀" * ROW_CHARACTERS


def test_odd_columns_do_not_stop_it() -> None:
    bad = pa.array([b"ok\xff"]).view(pa.string())
    table = pa.table(
        {
            "large": pa.array(["v" * 20], pa.large_string()),
            "bad": bad,
            "nested": pa.ListArray.from_arrays([0, 1], bad),
            "bytes": [b"\xff"],
            "list": [[1, 2]],
            "time": pa.array([2**62], pa.timestamp("s")),
            "long": ["x" * 100_000],
        }
    )
    (row,) = _quarantine(table, 0)
    assert '"bad":"ok\\\\xff","nested":"(not shown)"' in str(row["row"])
    assert len(str(row["row"])) == ROW_CHARACTERS
    assert orjson.loads(str(row["row"]).partition(',"bytes"')[0] + "}")["large"] == "v" * 20


def test_details_are_cut_and_storable() -> None:
    (row,) = _quarantine(pa.table({"text": ["a"]}), 0, detail="\ud800" + "x" * 1000)
    assert str(row["detail"]).startswith("\\ud800x")
    assert len(str(row["detail"])) == 500


def test_the_first_fault_counts() -> None:
    faults = Faults()
    faults.add([1, 2], Reason.NULL_TEXT, "null")
    faults.add_each({2: "bad", 3: "bad"}, Reason.WRONG_TYPE, "n")
    assert {row: fault.reason for row, fault in faults.by_row.items()} == {
        1: "null_text",
        2: "null_text",
        3: "wrong_type",
    }
    assert faults.by_row[3].detail == "'n': bad"
