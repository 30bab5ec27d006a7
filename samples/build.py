"""Check corpus.jsonl and write it as corpus.parquet.

Run from anywhere: ``python samples/build.py``. Both files lie beside this script.
"""

import json
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "corpus.jsonl"
TARGET = HERE / "corpus.parquet"

MIN_PASSAGES = 60
MIN_QUESTIONS = 200
ROW_GROUP_SIZE = 64

TEXT_FIELDS = ("id", "title", "context", "question")
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in TEXT_FIELDS),
        pa.field(
            "answers",
            pa.struct(
                [
                    pa.field("text", pa.list_(pa.string())),
                    pa.field("answer_start", pa.list_(pa.int32())),
                ]
            ),
        ),
    ]
)


class Answers(TypedDict):
    """Gold answers: equally long lists of texts and of their offsets in code points."""

    text: list[str]
    answer_start: list[int]


class Row(TypedDict):
    """One question about one passage."""

    id: str
    title: str
    context: str
    question: str
    answers: Answers


def check_row(row: Row, where: str) -> None:
    """Raise ValueError, naming the row, unless its fields are complete and its answers in place."""
    if set(row) != {*TEXT_FIELDS, "answers"}:
        raise ValueError(f"{where}: fields are {sorted(row)}")
    for name, value in row.items():
        if name in TEXT_FIELDS and not (isinstance(value, str) and value.strip()):
            raise ValueError(f"{where}: {name} is not a non-empty string")
    answers = row["answers"]
    if not isinstance(answers, dict) or set(answers) != {"text", "answer_start"}:
        raise ValueError(f"{where}: answers must hold exactly text and answer_start")
    texts, starts = answers["text"], answers["answer_start"]
    if not texts or len(texts) != len(starts):
        raise ValueError(f"{where}: {len(texts)} answer texts, {len(starts)} answer starts")
    for text, start in zip(texts, starts, strict=True):
        if not text or start < 0 or row["context"][start : start + len(text)] != text:
            raise ValueError(f"{where}: answer {text!r} is not in the context at offset {start}")


def read_rows(path: Path) -> list[Row]:
    """Read and check the whole corpus; raise ValueError at the first thing that is wrong."""
    rows: list[Row] = []
    ids: set[str] = set()
    passages: set[str] = set()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row: Row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path.name} line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path.name} line {number}: not a JSON object")
            where = f"{path.name} line {number} (id {row.get('id')!r})"
            check_row(row, where)
            if row["id"] in ids:
                raise ValueError(f"{where}: the id is used twice")
            if row["context"] in passages and row["context"] != rows[-1]["context"]:
                raise ValueError(f"{where}: rows of one passage must be adjacent")
            ids.add(row["id"])
            passages.add(row["context"])
            rows.append(row)
    if len(passages) < MIN_PASSAGES:
        raise ValueError(f"{path.name}: {len(passages)} passages, at least {MIN_PASSAGES} wanted")
    if len(rows) < MIN_QUESTIONS:
        raise ValueError(f"{path.name}: {len(rows)} questions, at least {MIN_QUESTIONS} wanted")
    return rows


def main() -> None:
    """Check the corpus and write the Parquet file."""
    rows = read_rows(SOURCE)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, TARGET, compression="zstd", row_group_size=ROW_GROUP_SIZE)
    passages = len({row["context"] for row in rows})
    print(f"{TARGET.name}: {len(rows)} questions on {passages} passages")


if __name__ == "__main__":
    main()
