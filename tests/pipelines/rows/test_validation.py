"""Validation: rows in are rows out and rows quarantined."""

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.helpers import jsonl, plan_of, qa_rows, quarantine_of, rows_of, validate_all

GOOD = {"id": "1", "question": "Who?", "context": "Me."}

BAD_JSON: list[tuple[object, str]] = [
    (b'{"id": ', "malformed_json"),
    (b"[1]", "not_an_object"),
    (b'{"question": "\xff", "context": "c"}', "invalid_utf8"),
    (b'{"question": "\\ud800", "context": "c"}', "lone_surrogate"),
    ({**GOOD, "question": None}, "null_question"),
    ({"id": "1", "context": "c"}, "null_question"),
    ({**GOOD, "question": ""}, "empty_question"),
    ({**GOOD, "question": " \u3000\t\n"}, "empty_question"),
    ({**GOOD, "question": 5}, "wrong_type"),
    ({**GOOD, "context": None}, "null_context"),
    ({**GOOD, "context": " "}, "empty_context"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_JSON)
def test_a_bad_line_costs_itself(tmp_path: Path, bad: object, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([*qa_rows(2), bad, *qa_rows(1)]))
    shards = validate_all(plan_of(path))
    assert rows_of(shards) == [*qa_rows(2), *qa_rows(1)]
    (row,) = quarantine_of(shards)
    assert (row["reason"], row["file"], row["place"]) == (reason, "a.jsonl", len(jsonl(qa_rows(2))))
    assert row["row"].startswith(("{", "["))
    assert row["detail"]


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(st.sampled_from([GOOD, {**GOOD, "id": None}, *(bad for bad, _ in BAD_JSON)]), max_size=40),
    shard_rows=st.integers(1, 15),
)
def test_json_rows_in_are_rows_out_and_quarantined(lines: list[object], shard_rows: int) -> None:
    reasons = {repr(bad): reason for bad, reason in BAD_JSON}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        # Without one good line the names of the columns would look wrong.
        path.write_bytes(jsonl([GOOD, *lines]))
        shards = validate_all(plan_of(path, shard_rows=shard_rows))
    assert len(rows_of(shards)) == 1 + sum(repr(line) not in reasons for line in lines)
    assert [row["reason"] for row in quarantine_of(shards)] == [
        reasons[repr(line)] for line in lines if repr(line) in reasons
    ]


def test_ids_of_json_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[object] = [
        {**GOOD, "id": "x"},
        {**GOOD, "id": 7},
        {**GOOD, "id": None},
        {"question": "q", "context": ""},
    ]
    more = [{**GOOD, "id": [1]}, {**GOOD, "id": {"$oid": "5f"}}, {"id": 1.5, "question": "q", "context": ""}]
    path.write_bytes(jsonl([*rows, b"oops", *more]))
    shards = validate_all(plan_of(path))
    third, last = len(jsonl(rows[:2])), len(jsonl([*rows, b"oops"]))
    assert [row["id"] for row in rows_of(shards)] == ["x", "7", f"a.jsonl@{third}", f"a.jsonl@{last}", "5f"]
    assert {key: flags.tolist() for key, flags in shards[0].misfits.items()} == {
        ("id", "default_id"): [False, False, False, True, False]
    }
    # A row without an id is named by its place in quarantine too; a line that nobody can read is not.
    assert [row["id"] for row in quarantine_of(shards)] == [
        f"a.jsonl@{len(jsonl(rows[:3]))}",
        None,
        f"a.jsonl@{len(jsonl([*rows, b'oops', *more[:2]]))}",
    ]


def test_columns_can_be_mapped_and_carried(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        jsonl(
            [
                {"key": 1, "q": "Q?", "text": "T", "n": 1, "question": "x"},
                {"key": 2, "q": "R?", "text": "U", "n": "two"},
                {"key": 3, "q": "S?", "text": "V"},
            ]
        )
    )
    columns = {"id": "key", "question": "q", "context": "text"}
    shards = validate_all(plan_of(path, columns=columns, carry=("text", "n")))
    assert rows_of(shards) == [
        {"id": "1", "question": "Q?", "context": "T", "text": "T", "n": "1"},
        {"id": "2", "question": "R?", "context": "U", "text": "U", "n": "two"},
        {"id": "3", "question": "S?", "context": "V", "text": "V", "n": None},
    ]
    assert quarantine_of(shards) == []


def test_a_question_can_be_carried(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(qa_rows(2)))
    (shard,) = validate_all(plan_of(path, carry=("question",)))
    assert shard.rows.column_names == ["id", "question", "context"]


def test_embed_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": "a"}, {"text": ""}, {"text": None}, {"text": 1}]))
    shards = validate_all(plan_of(path, kind="embed"))
    assert rows_of(shards) == [{"id": "a.jsonl@0", "text": "a"}]
    assert [row["reason"] for row in quarantine_of(shards)] == ["empty_text", "null_text", "wrong_type"]


def _parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def _bad_utf8(values: list[bytes | None]) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def test_parquet_rows(tmp_path: Path) -> None:
    path = _parquet(
        tmp_path / "a.parquet",
        id=pa.array([1, None, 3, 4, 5, 6], pa.int32()),
        question=_bad_utf8([b"q", b"q", b"q\xff", b"", None, b"q"]),
        context=_bad_utf8([b"c", b"c", b"c", b"c", b"c", "\u2003".encode()]),
    )
    shards = validate_all(plan_of(path, shard_rows=4))
    assert [row["id"] for row in rows_of(shards)] == ["1", "a.parquet:1"]
    assert [(row["id"], row["place"], row["reason"]) for row in quarantine_of(shards)] == [
        ("3", 2, "invalid_utf8"),
        ("4", 3, "empty_question"),
        ("5", 4, "null_question"),
        ("6", 5, "empty_context"),
    ]
    assert quarantine_of(shards)[0]["row"] == r'{"id":3,"question":"q\\xff","context":"c"}'
    assert [shard.places.to_pylist() for shard in shards] == [[0, 1], []]


@pytest.mark.parametrize(
    "type", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_string_column(tmp_path: Path, type: pa.DataType) -> None:
    text = pa.array(["a", "b" * 30, None], pa.string()).cast(type)
    path = _parquet(tmp_path / "a.parquet", id=text, question=text, context=text, tag=text)
    shards = validate_all(plan_of(path, carry=("tag",)))
    assert rows_of(shards) == [dict.fromkeys(("id", "question", "context", "tag"), value) for value in ("a", "b" * 30)]
    assert shards[0].rows.schema.field("question").type == pa.string()
    assert len(quarantine_of(shards)) == 1


def test_bad_bytes_in_every_kind_of_column_cost_their_row(tmp_path: Path) -> None:
    good, bad = _bad_utf8([b"a"] * 4), _bad_utf8([b"a", b"a", b"\xff\xff", b"a"])
    for number, column in enumerate((bad, bad.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string()))):
        path = _parquet(tmp_path / f"{number}.parquet", id=good, question=good, context=column)
        shards = validate_all(plan_of(path))
        assert [row["place"] for row in quarantine_of(shards)] == [2]
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), bad)
    path = _parquet(tmp_path / "nested.parquet", id=bad, question=good, context=good, tags=nested)
    (row,) = quarantine_of(validate_all(plan_of(path, carry=("tags",))))
    assert (row["reason"], row["id"], row["place"]) == ("invalid_utf8", None, 2)


def test_carried_columns_are_cast_to_the_type_of_all_files(tmp_path: Path) -> None:
    text = ["a", "b", "c"]
    _parquet(tmp_path / "1.parquet", id=text, question=text, context=text, n=pa.array([1, 2, None], pa.int32()))
    _parquet(tmp_path / "2.parquet", id=text, question=text, context=text, n=["04", "many", None])
    shards = validate_all(plan_of(tmp_path, carry=("n",)))
    assert [row["n"] for row in rows_of(shards)] == ["1", "2", None, "04", "many", None]
    assert (quarantine_of(shards), [shard.misfits for shard in shards]) == ([], [{}, {}])
    shards = validate_all(plan_of(tmp_path, carry=("n",), types={"n": "int64"}))
    assert [row["n"] for row in rows_of(shards)] == [1, 2, None, None, None, None]
    assert {key: flags.tolist() for key, flags in shards[1].misfits.items()} == {("n", "null"): [True, True, False]}


def test_nan_in_json_is_null_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{**GOOD, "n": 1.5, "l": [1.0]}, b'{"id": 2, "question": "q", "context": "c", "n": NaN, "l": [Infinity]}']
    path.write_bytes(jsonl(lines))
    [shard] = validate_all(plan_of(path, carry=("n", "l")))
    assert [(row["n"], row["l"]) for row in rows_of([shard])] == [(1.5, [1.0]), (None, [None])]
    assert {key: flags.tolist() for key, flags in shard.misfits.items()} == {
        ("n", "no_number"): [False, True],
        ("l", "no_number"): [False, True],
    }


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([b"\0" * 16, None], pa.uuid()), ["00000000-0000-0000-0000-000000000000", "a.parquet:1"]),
        (pa.array([Decimal(10**37), None], pa.decimal128(38, 0)), [str(10**37), "a.parquet:1"]),
        (pa.array([1.0, 1.5]), ["1", "a.parquet:1"]),
        (pa.array([None, [1]], pa.list_(pa.int8())), ["a.parquet:0", "a.parquet:1"]),
        (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
    ],
)
def test_ids_of_parquet_rows(tmp_path: Path, ids: pa.Array, expected: list[str]) -> None:
    path = _parquet(tmp_path / "a.parquet", id=ids, question=["q", "q"], context=["c", "c"])
    [shard] = validate_all(plan_of(path))
    assert shard.rows["id"].to_pylist() == expected
    refused = [number for number in range(2) if ids[number].as_py() is not None and ":" in expected[number]]
    assert {key: flags.nonzero()[0].tolist() for key, flags in shard.misfits.items()} == (
        {("id", "default_id"): refused} if refused else {}
    )


def test_a_late_value_costs_no_answer_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    late = {"n": "02134", "s": 5, "d": {"a": 1, "b": 2}, "big": 2**53 + 1}
    early = {"n": 1, "s": "x", "d": {"a": 1}, "big": 0.5}
    path.write_bytes(jsonl([*({**row, **early} for row in qa_rows(40_000)), {**GOOD, **late}, {**GOOD, **early}]))
    plan = plan_of(path, carry=("n", "s", "d", "big"), shard_rows=100_000)
    shards = validate_all(plan)
    assert quarantine_of(shards) == []
    assert {name: rows_of(shards)[-2][name] for name in late} == {"n": None, "s": "5", "d": None, "big": None}
    flags = {key: flags.nonzero()[0].tolist() for shard in shards for key, flags in shard.misfits.items()}
    assert flags == {key: [40_000] for key in (("n", "null"), ("s", "text"), ("d", "null"), ("big", "null"))}


@settings(deadline=None, max_examples=60)
@given(
    questions=st.lists(st.sampled_from([b"q", b"", b" ", None, b"\xff", "é".encode()]), min_size=1, max_size=30),
    shard_rows=st.integers(1, 12),
)
def test_parquet_rows_in_are_rows_out_and_quarantined(questions: list[bytes | None], shard_rows: int) -> None:
    good = {b"q", "é".encode()}
    with tempfile.TemporaryDirectory() as folder:
        text = ["c"] * len(questions)
        path = _parquet(Path(folder) / "a.parquet", question=_bad_utf8(questions), context=text)
        shards = validate_all(plan_of(path, shard_rows=shard_rows))
    expected = [(row, question in good) for row, question in enumerate(questions)]
    assert [place for shard in shards for place in shard.places.to_pylist()] == [row for row, ok in expected if ok]
    assert [row["place"] for row in quarantine_of(shards)] == [row for row, ok in expected if not ok]


def test_duplicate_ids_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([GOOD, GOOD]))
    assert [row["id"] for row in rows_of(validate_all(plan_of(path)))] == ["1", "1"]


def test_an_empty_shard_has_the_schema_of_a_full_one(tmp_path: Path) -> None:
    _parquet(tmp_path / "1.parquet", id=["a"], question=["a"], context=["a"], n=[1])
    _parquet(tmp_path / "2.parquet", id=pa.nulls(0), question=pa.nulls(0), context=pa.nulls(0), n=pa.nulls(0))
    (tmp_path / "3.jsonl").write_bytes(b"")
    full, *empty = validate_all(plan_of(tmp_path, carry=("n",)))
    assert [shard.rows.schema for shard in empty] == [full.rows.schema] * 2
