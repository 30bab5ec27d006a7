"""Whole JSON documents are told from JSON Lines, and read as rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.corpus.formats.base import Span
from pipelines.corpus.formats.json_document import LOOK_BYTES, find_rows
from pipelines.errors import CorpusError, DamagedError
from pipelines.execution.sampling import sample_plan
from pipelines.planning.plan import Plan
from pipelines.planning.row_limit import limit_rows
from tests.pipelines.helpers import SUFFIXES, compressed, jsonl, plan_of, qa_rows, quarantine_of, rows_of, validate_all

ROWS = qa_rows(30)
TEXTS = ("question", "context")


def _written(path: Path, document: object, indent: int | None = None) -> Path:
    path.write_text(json.dumps(document, indent=indent))
    return path


def _postgres(rows: Sequence[object]) -> bytes:
    return b"[" + b"\n,".join(map(orjson.dumps, rows)) + b"]\n"


DOCUMENTS = {
    "one line": json.dumps(ROWS).encode(),
    "pretty": json.dumps(ROWS, indent=4).encode(),
    "a row a line": b"[\n" + b",\n".join(map(orjson.dumps, ROWS)) + b"\n]\n",
    "commas in front": _postgres(ROWS),
    "a byte order mark": b"\xef\xbb\xbf \n" + json.dumps(ROWS).encode(),
    "data": json.dumps({"data": ROWS}).encode(),
    "pretty data": json.dumps({"version": {"data": [1]}, "id": "set", "data": ROWS, "more": [{}]}, indent=2).encode(),
    "objects of several lines": b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
}


@pytest.mark.parametrize("compression", SUFFIXES)
@pytest.mark.parametrize("layout", DOCUMENTS)
def test_documents_are_read_as_rows(tmp_path: Path, layout: str, compression: str | None) -> None:
    path = tmp_path / f"a.json{SUFFIXES[compression]}"
    path.write_bytes(compressed(DOCUMENTS[layout], compression))
    plan = plan_of(path, shard_rows=7)
    assert plan.files[0].format == "json"
    shards = validate_all(plan)
    assert rows_of(shards) == ROWS
    assert [len(shard.rows) for shard in shards] == [7, 7, 7, 7, 2]
    assert Plan.from_json(orjson.loads(orjson.dumps(plan.to_json()))) == plan


def test_one_object_a_file(tmp_path: Path) -> None:
    for number, row in enumerate(qa_rows(9)):
        _written(tmp_path / f"{number}.json", row, indent=number % 3 or None)
    assert rows_of(validate_all(plan_of(tmp_path))) == qa_rows(9)


def test_a_document_may_be_called_anything(tmp_path: Path) -> None:
    _written(tmp_path / "a.jsonl", ROWS)
    assert rows_of(validate_all(plan_of(tmp_path))) == ROWS
    _written(tmp_path / "a.jsonl", ROWS).rename(tmp_path / "a.txt")
    assert rows_of(validate_all(plan_of(tmp_path, format="json"))) == ROWS


def test_a_document_that_is_larger_than_a_look(tmp_path: Path) -> None:
    rows = qa_rows(5000)
    path = _written(tmp_path / "a.json", {"data": rows})
    assert path.stat().st_size > 4 * LOOK_BYTES
    plan = plan_of(path, carry=("question",))
    assert plan.row_estimate == pytest.approx(5000, rel=0.1)
    assert [row["id"] for row in rows_of(validate_all(plan))] == [row["id"] for row in rows]
    limited = limit_rows(plan, 10, {})
    assert rows_of(validate_all(limited)) == rows[:10]
    assert {len(shard.rows) for shard in validate_all(sample_plan(plan, pieces=3, piece_rows=8))} == {4, 8}


def test_a_first_row_that_is_larger_than_a_look(tmp_path: Path) -> None:
    row = {**ROWS[0], "context": "Ada waits. " * 10_000}
    for number, document in enumerate(([row], {"data": [row]}, row)):
        _written(tmp_path / f"{number}.json", document, indent=1)
    assert rows_of(validate_all(plan_of(tmp_path))) == [row] * 3


def test_a_bad_row_of_a_document_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(
        b"[" + b",\n".join([*map(orjson.dumps, ROWS), b'{"id": "bad", "question": }', b"[1]", b"null"]) + b"]"
    )
    shards = validate_all(plan_of(path))
    assert rows_of(shards) == ROWS
    bad = quarantine_of(shards)
    assert [row["reason"] for row in bad] == ["malformed_json", "not_an_object", "not_an_object"]
    assert path.read_bytes()[bad[0]["place"] :].startswith(bad[0]["row"].encode())


def test_columns_are_checked(tmp_path: Path) -> None:
    _written(tmp_path / "a.json", {"data": [{"question": "q", "passage": "c"}] * 20})
    with pytest.raises(CorpusError, match=r"a\.json: there is no column 'context'; it has 'question', 'passage'"):
        plan_of(tmp_path)
    _written(tmp_path / "a.json", {"data": [{"title": "t", "paragraphs": []}]})
    with pytest.raises(CorpusError, match="it has 'title', 'paragraphs'"):
        plan_of(tmp_path)


def test_a_document_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(DOCUMENTS["pretty"][:-40])
    words = r"a\.json: the JSON document is damaged or cut short: it ends at byte \d+, where a bracket is open"
    with pytest.raises(DamagedError, match=words):
        validate_all(plan_of(path))
    shards = validate_all(plan_of(path, damaged="quarantine"))
    assert rows_of(shards) == ROWS[:-1]
    assert [row["reason"] for row in quarantine_of(shards)] == ["unreadable"]


@pytest.mark.parametrize(
    "text",
    [
        jsonl(ROWS),
        jsonl(ROWS[:1]),
        b'{"question": "q", "context": "c", "data": [{"a": 1}]}',
        b'{"question": "q", "data": [{"a": 1}], "context": "c"}\n',
        b'{"data": [1, 2]}',
        b'{"data": {"a": 1}}',
        b'{"id": "cut", "question": "Who?\n' + jsonl(ROWS[:1]),
        b'{"id": "cut", "question": "Who?\n',
        b'{"id": "cut", "question":\n' + jsonl(ROWS),
        b'[{"id": "cut"\n' + jsonl(ROWS),
        b'{"id": NaN, "question": "q"}\n{"id": 1}\n',
        b"[]\n" + jsonl(ROWS),
        b'["a"]\n' + jsonl(ROWS),
        b"[INFO] job begins\n[INFO] job ends\n",
        b"{'id': 1}\n{'id': 2}\n",
        b"{\n" + jsonl(ROWS[:1]) + b"}\n",
        b"id,question,context\n",
        b"",
        b"\n\n",
    ],
)
def test_lines_stay_lines(text: bytes) -> None:
    assert find_rows(text, TEXTS) is None


def test_rows_begin_at_the_array_under_data() -> None:
    text = b'\xef\xbb\xbf {"version": "[", "meta": {"data": [{}]}, "data" : [ {"a": 1}]}'
    assert text[find_rows(text, TEXTS) or 0 :].startswith(b'[ {"a"')
    assert find_rows(b"[]", TEXTS) == find_rows(b"[\n]", TEXTS) == find_rows(b'{\n "data": "x"\n}', TEXTS) == 0


@pytest.mark.parametrize("carried", ["source", "data", "id"])
def test_a_key_of_the_document_may_be_that_of_a_carried_column(tmp_path: Path, carried: str) -> None:
    rows = [{**row, carried: f"row {number}"} for number, row in enumerate(ROWS)]
    path = _written(tmp_path / "a.json", {carried: "of the document", "data": rows})
    if carried == "data":
        path = _written(tmp_path / "a.json", {"data": rows})
    carry = () if carried == "id" else (carried,)
    assert rows_of(validate_all(plan_of(path, carry=carry))) == rows


def test_spans_are_whole_files(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.json", ROWS)
    [unit] = plan_of(path, unit_bytes=10).units
    assert unit.span == Span(0, path.stat().st_size, 0, None)


def test_a_value_that_is_no_row_is_in_quarantine(tmp_path: Path) -> None:
    values: list[Any] = [*ROWS, ["a"], "text"]
    shards = validate_all(plan_of(_written(tmp_path / "a.json", values)))
    assert [row["detail"] for row in quarantine_of(shards)] == [
        "a JSON array, not an object",
        "a JSON string, not an object",
    ]
