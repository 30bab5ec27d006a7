"""A first look at JSONL files: wrong files are refused, a few bad rows are not."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.formats.base import LookOptions
from pipelines.corpus.formats.jsonl import JSONL
from pipelines.corpus.listing import list_files
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.planning.planner import make_plan
from tests.pipelines.helpers import compressed, jsonl, qa_rows, validate_all

GOOD = jsonl(qa_rows(20))
OTHER = jsonl([{"question": "q", "passage": "c"}] * 20)
LIST = b"q: [q],\n" + b"".join([b'- question: "q"\n'] * 20) + jsonl(qa_rows(1))


def _files(folder: Path, *contents: bytes) -> tuple[SourceFile, ...]:
    for number, content in enumerate(contents):
        (folder / f"{number}.jsonl").write_bytes(content)
    return list_files([str(folder)], CorpusParameters())


def test_names_and_row_bytes(tmp_path: Path) -> None:
    more = jsonl([{**qa_rows(1)[0], "n": 1}])
    options = LookOptions(("id", "question", "context"), ("question", "context"), 1 << 20, {}, keep_on=False)
    looks = [JSONL.look(file, options) for file in _files(tmp_path, GOOD, b"", more)]
    assert [look.names for look in looks] == [
        ("id", "question", "context"),
        (),
        ("id", "question", "context", "n"),
    ]
    assert [(look.rows, look.text_bytes, look.is_telling) for look in looks] == [
        (20, len(GOOD), True),
        (0, 0, False),
        (1, len(more), False),
    ]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (OTHER, r"there is no column 'context'; it has 'question', 'passage'.*leave the file out"),
        (LIST, "of its first 22 lines only 1 hold a JSON object"),
        (b"id,question,context\n" * 12, "of its first 12 lines only 0 hold a JSON object.* Convert "),
    ],
)
def test_a_wrong_file_among_good_ones_is_named(tmp_path: Path, bad: bytes, words: str) -> None:
    with pytest.raises(CorpusError, match=rf"^2\.jsonl: {words}"):
        make_plan(_files(tmp_path, GOOD, GOOD, bad, GOOD), CorpusParameters(), "answer")


def test_all_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"2 of 4 files") as raised:
        make_plan(_files(tmp_path, GOOD, OTHER, GOOD, LIST), CorpusParameters(), "answer")
    assert [line[2:9] for line in str(raised.value).splitlines()[1:]] == ["1.jsonl", "3.jsonl"]


def test_a_name_that_no_file_has_is_one_error(tmp_path: Path) -> None:
    columns: Any = {"context": "contex"}
    with pytest.raises(CorpusError, match=r"^0\.jsonl: there is no column 'contex'.*Did you mean 'context'"):
        make_plan(_files(tmp_path, GOOD, GOOD), CorpusParameters(columns=columns), "answer")


def test_a_few_bad_lines_are_left_to_quarantine(tmp_path: Path) -> None:
    few = (b"{\n" * 9, jsonl([{"question": "q"}] * 9), jsonl([[1], {}]))
    assert len(make_plan(_files(tmp_path, GOOD, *few), CorpusParameters(), "answer").units) == 4


def test_damaged_streams_are_all_named(tmp_path: Path) -> None:
    for name, data in (("a", compressed(GOOD, "gzip")), ("b", b"not gzip"), ("c", compressed(GOOD, "gzip")[:-9])):
        (tmp_path / f"{name}.jsonl.gz").write_bytes(data)
    with pytest.raises(CorpusError, match="2 of 3 files") as raised:
        make_plan(list_files([str(tmp_path)], CorpusParameters()), CorpusParameters(), "answer")
    assert [line.split()[0] for line in str(raised.value).splitlines()[1:]] == ["b.jsonl.gz:", "c.jsonl.gz:"]


def test_carried_types_come_from_a_file_that_has_the_columns(tmp_path: Path) -> None:
    parameters = CorpusParameters(carry=("n", "tags"))
    rich = jsonl([{**row, "n": 1, "tags": ["a"]} for row in qa_rows(3)])
    poor = jsonl([{**row, "n": None} for row in qa_rows(30)])
    files = _files(tmp_path, b"", poor, rich)
    assert make_plan(files, parameters, "answer").layout.carry == pa.schema(
        {"n": pa.int64(), "tags": pa.list_(pa.string())}
    )
    with pytest.raises(CorpusError, match="no column 'm'"):
        make_plan(files, CorpusParameters(carry=("n", "m")), "answer")


def test_lines_with_nan_tell_columns_too(tmp_path: Path) -> None:
    line = b'{"question": "q", "context": "c", "score": NaN}\n'
    plan = make_plan(_files(tmp_path, line * 20), CorpusParameters(), "answer")
    [shard] = validate_all(plan)
    assert len(shard.rows) == 20
