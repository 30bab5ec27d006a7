"""Question-answer examples: the same rows from every format, bad ones left out and counted."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import CorpusError
from pipelines.evaluation.squad import EXAMPLE_SCHEMA, InvalidReason, read_examples
from pipelines.storage.filesystem import resolve, write_atomic
from tests.pipelines.helpers import SUFFIXES, compressed, jsonl
from tests.pipelines.s3_server import S3Server

CONTEXT = "Żółw 🐢 Ada ground rye by the 🌊 weir; Bo ground oats by the weir."


def _answers(*texts: str) -> dict[str, Any]:
    return {"text": list(texts), "answer_start": [CONTEXT.index(text) for text in texts]}


ROWS: list[dict[str, Any]] = [
    {"id": "a", "question": "What did Ada grind?", "context": CONTEXT, "answers": _answers("rye", "Ada ground rye")},
    {"id": "b", "question": "Where?", "context": CONTEXT, "answers": _answers("by the 🌊 weir")},
    {"id": "c", "question": "What did Cy grind?", "context": CONTEXT, "answers": _answers()},
]


def _document(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def asked(row: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        return {"id": row["id"], "question": row["question"], "answers": answers, "is_impossible": not answers}

    paragraphs = [{"context": row["context"], "qas": [asked(row)]} for row in rows]
    return {"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs[:1]}, {"paragraphs": paragraphs[1:]}]}


def _expected(sources: list[str | None]) -> list[dict[str, Any]]:
    return [
        {
            **{name: row[name] for name in ("id", "question", "context")},
            "answer_texts": row["answers"]["text"],
            "answer_starts": row["answers"]["answer_start"],
            "source": source,
        }
        for row, source in zip(ROWS, sources, strict=True)
    ]


@pytest.mark.parametrize("name", ["squad.json", "pretty.json", "lines.json", "array.json", "lines.jsonl", "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = [{**row, "source": "mill"} for row in ROWS]
    contents = {
        "squad.json": orjson.dumps(_document(ROWS)),
        "pretty.json": b"\xef\xbb\xbf" + orjson.dumps(_document(ROWS), option=orjson.OPT_INDENT_2),
        "array.json": orjson.dumps(rows),
    }
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    else:
        path.write_bytes(contents.get(name, jsonl(rows)))
    found = read_examples([str(path)], {})
    assert found.examples.schema == EXAMPLE_SCHEMA
    assert found.examples.to_pylist() == _expected([None if path.name in ("squad.json", "pretty.json") else "mill"] * 3)
    assert (found.left_out, found.answers_dropped, [file.name for file in found.files]) == ((), 0, [name])


def test_squads_json_whose_articles_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps({"version": 1, "data": ROWS}))
    assert read_examples([str(tmp_path)], {}).examples.to_pylist() == _expected([None] * 3)


def test_several_compressed_files_from_a_store(s3: S3Server) -> None:
    bucket = resolve("s3://bucket/squad", s3.options)
    for name, data, compression in (
        ("1.jsonl", jsonl(ROWS[:1]), "gzip"),
        ("2.json", orjson.dumps(_document(ROWS[1:2])), "gzip"),
        ("3.jsonl", jsonl(ROWS[2:]), "zstd"),
    ):
        write_atomic(bucket.fs, bucket.path(name + SUFFIXES[compression]), compressed(data, compression))
    assert read_examples(["s3://bucket/squad"], s3.options).examples["id"].to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        (b"{oops", InvalidReason.NO_OBJECT),
        ([1], InvalidReason.NO_OBJECT),
        ({**ROWS[0], "question": None}, InvalidReason.NO_QUESTION),
        ({**ROWS[0], "question": " "}, InvalidReason.NO_QUESTION),
        ({**ROWS[0], "context": ""}, InvalidReason.NO_CONTEXT),
        ({**ROWS[0], "context": 7}, InvalidReason.NO_CONTEXT),
        ({**ROWS[0], "answers": None}, InvalidReason.NO_ANSWER_LIST),
        ({**ROWS[0], "answers": ["rye"]}, InvalidReason.NO_ANSWER_LIST),
        ({**ROWS[0], "answers": {"text": "rye", "answer_start": 1}}, InvalidReason.NO_ANSWER_LIST),
        ({**ROWS[0], "answers": {"text": ["rye"], "answer_start": []}}, InvalidReason.NO_ANSWER_LIST),
        # One byte, or one UTF-16 unit, is not one code point.
        (
            {**ROWS[0], "answers": {"text": ["Ada"], "answer_start": [CONTEXT.index("Ada") + 1]}},
            InvalidReason.MISPLACED,
        ),
        ({**ROWS[0], "answers": {"text": ["weir."], "answer_start": [-5]}}, InvalidReason.MISPLACED),
        ({**ROWS[0], "answers": {"text": [""], "answer_start": [0]}}, InvalidReason.MISPLACED),
        ({**ROWS[0], "answers": {"text": ["rye"], "answer_start": [None]}}, InvalidReason.MISPLACED),
    ],
)
def test_a_bad_row_is_left_out_and_named(tmp_path: Path, row: object, flaw: InvalidReason) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([ROWS[1], row, ROWS[2]]))
    found = read_examples([str(tmp_path)], {})
    assert found.examples["id"].to_pylist() == ["b", "c"]
    place = f"a.jsonl@{len(jsonl(ROWS[1:2]))}"
    assert [(one.reason, one.rows, one.places) for one in found.left_out] == [(flaw, 1, (place,))]
    assert str(found.left_out[0]) == f"1 row left out, {flaw}: {place}"


def test_only_the_first_of_many_bad_rows_are_named(tmp_path: Path) -> None:
    bad = {**ROWS[0], "question": ""}
    pq.write_table(pa.Table.from_pylist([ROWS[0], *[bad] * 7]), tmp_path / "a.parquet")
    (left_out,) = read_examples([str(tmp_path)], {}).left_out
    assert str(left_out) == "7 rows left out, no question: " + "".join(f"a.parquet:{i}, " for i in range(1, 6)) + "..."


def test_a_row_keeps_its_right_answers(tmp_path: Path) -> None:
    answers = {"text": ["rye", "oats", "rye"], "answer_start": [0, CONTEXT.index("oats"), CONTEXT.index("rye")]}
    (tmp_path / "a.jsonl").write_bytes(jsonl([{**ROWS[0], "answers": answers}]))
    found = read_examples([str(tmp_path)], {})
    assert found.examples["answer_texts"].to_pylist() == [["oats", "rye"]]
    assert (found.answers_dropped, found.left_out) == (1, ())


def test_ids_are_kept_or_made(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "id": id} for id in ("same", "same", 7)]
    (tmp_path / "a.jsonl").write_bytes(jsonl([*rows, {**ROWS[0], "id": None}]))
    ids = read_examples([str(tmp_path)], {}).examples["id"].to_pylist()
    assert ids == ["same", "same", "7", f"a.jsonl@{len(jsonl(rows))}"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", jsonl([{"question": "q", "passage": "p"}]), r"no 'context' and no 'answers'; it has .*'passage'"),
        ("a.json", b'{"data": [{"paragraphs": [', r"broken JSON, .*line 1 column 2[67].* Replace"),
        ("a.json", b'{\n  "data": [\n    {"paragraphs": ', "broken JSON"),
        ("a.json", b'{"data": [{"paragraphs": []}, {"chapters": 1}]}', r"data\[1\] is not laid out .*'paragraphs'"),
        ("a.json", b'{"data": [{"paragraphs": [{"context": "c", "qas": [7]}]}]}', r"data\[0\] is not laid out"),
        ("a.json", b"[1, 2]", "it has no JSON object"),
        ("a.json", b"7", "it has no JSON object"),
        ("a.parquet", b"PAR1 and no more", "Parquet magic bytes not found"),
        ("a.jsonl.gz", compressed(jsonl(ROWS * 100), "gzip")[:-9], "damaged or cut short"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=rf"^{name}: .*{words}"):
        read_examples([str(tmp_path / name)], {})


def test_rows_without_ids_are_told_apart(tmp_path: Path) -> None:
    document = _document(ROWS[:3])
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                del qa["id"]
    (tmp_path / "a.json").write_bytes(orjson.dumps(document))
    assert read_examples([str(tmp_path / "a.json")], {}).examples["id"].to_pylist() == [
        "a.json:data[0].paragraphs[0].qas[0]",
        "a.json:data[1].paragraphs[0].qas[0]",
        "a.json:data[1].paragraphs[1].qas[0]",
    ]


def test_a_wrong_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["q"], "context": ["c"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"^a\.parquet: there is no 'answers'; it has 'question', 'context'"):
        read_examples([str(tmp_path)], {})


def test_not_one_good_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{**ROWS[0], "question": ""}]))
    (tmp_path / "b.jsonl").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"not one usable example in .*\n  1 row left out, no question: a\.jsonl@0"):
        read_examples([str(tmp_path)], {})
