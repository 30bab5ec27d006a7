"""An input format from outside the package, named by its place: planned, read, limited, sampled, validated, shown."""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.cli.commands.dry_run import show_plan
from pipelines.config.input_formats import FORMATS
from pipelines.config.job import AnswerConfig, CorpusParameters
from pipelines.config.loader import load_config
from pipelines.corpus.formats.base import PLACE_MARKS, InputFormat, find_format
from pipelines.corpus.listing import list_files
from pipelines.errors import ConfigError, CorpusError
from pipelines.execution.sampling import counted_plan, sample_plan
from pipelines.job.job import bind
from pipelines.planning.plan import Plan
from pipelines.planning.row_limit import limit_rows
from tests.pipelines.helpers import plan_of, qa_rows, quarantine_of, read_all, rows_of, validate_all
from tests.pipelines.jobs import make_job

PLACE = "tests.pipelines.corpus.formats.tab_separated:TSV"
COLUMNS = ("id", "question", "context", "title")


def _tsv(rows: Sequence[dict[str, Any]]) -> bytes:
    lines = ["\t".join(COLUMNS), *("\t".join(str(row.get(name, "")) for name in COLUMNS) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def _rows(count: int) -> list[dict[str, Any]]:
    return [{**row, "title": f"T{number}"} for number, row in enumerate(qa_rows(count))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.tsv").write_bytes(_tsv(_rows(300)))
    (folder / "b.tsv.gz").write_bytes(gzip.compress(_tsv(_rows(20))))
    return folder


def _plan(path: Path, **parameters: Any) -> Plan:
    return plan_of(path, format=PLACE, **parameters)


def test_plan_read_and_validate(folder: Path) -> None:
    plan = _plan(folder, carry=("title",), shard_rows=70)
    assert [(file.name, file.format, file.compression) for file in plan.files] == [
        ("a.tsv", PLACE, None),
        ("b.tsv.gz", PLACE, "gzip"),
    ]
    assert 150 < plan.row_estimate < 600
    shards = validate_all(plan)
    assert [len(shard.rows) for shard in shards] == [70, 70, 70, 70, 20, 20]
    assert rows_of(shards) == [*_rows(300), *_rows(20)]
    assert shards[1].places.to_pylist() == list(range(70, 140))
    assert [raw.number for raw in read_all(plan, frozenset([0, 2]))] == [1, 3, 4]
    assert Plan.from_json(orjson.loads(orjson.dumps(plan.to_json()))) == plan


def test_rows_without_id_and_bad_rows(folder: Path) -> None:
    lines = _tsv([*_rows(2), {"id": "blank", "question": "Who?"}])
    (folder / "a.tsv").write_bytes(lines.replace(b"id\t", b"key\t", 1))
    shards = validate_all(_plan(folder / "a.tsv"))
    assert [row["id"] for row in rows_of(shards)] == ["a.tsv:0", "a.tsv:1"]
    [lost] = quarantine_of(shards)
    assert (lost["id"], lost["place"], lost["reason"]) == ("a.tsv:2", 2, "empty_context")
    assert orjson.loads(lost["row"]) == {"id": None, "question": "Who?", "context": ""}


def test_an_empty_file(folder: Path) -> None:
    (folder / "a.tsv").write_bytes(_tsv([]))
    [shard] = validate_all(_plan(folder / "a.tsv"))
    assert (len(shard.rows), len(shard.quarantine)) == (0, 0)


def test_a_damaged_file(folder: Path) -> None:
    (folder / "b.tsv.gz").write_bytes(gzip.compress(_tsv(_rows(300)))[:-40])
    with pytest.raises(CorpusError, match=r"b\.tsv\.gz: damaged"):
        read_all(_plan(folder))
    [lost] = quarantine_of(validate_all(_plan(folder, damaged="quarantine")))
    assert (lost["file"], lost["reason"]) == ("b.tsv.gz", "unreadable")


def test_columns_that_do_not_fit(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"a\.tsv: there is no column 'passage'"):
        _plan(folder, columns={"context": "passage"})


def test_limits_and_samples(folder: Path) -> None:
    limited = limit_rows(_plan(folder), 305, {})
    assert (limited.exact_rows, len(rows_of(validate_all(limited)))) == (305, 305)
    sample = sample_plan(_plan(folder), pieces=6, piece_rows=10)
    assert {len(raw.table) for raw in read_all(sample)} == {5, 10}
    assert counted_plan(_plan(folder), {}) == _plan(folder)


def test_a_job_and_its_resume(folder: Path, tmp_path: Path, untrained_model: Path) -> None:
    words = (f"corpus.format={PLACE}", "output.storage={auto_mkdir: true}")
    jobs = [make_job([folder], tmp_path / "out", untrained_model, *words) for _ in range(2)]
    first, again = (bind(job, replace=False) for job in jobs)
    assert first.manifest == again.manifest
    said = io.StringIO()
    show_plan(again, Console(file=said, width=1000))
    assert f"a.tsv  {PLACE}" in said.getvalue()
    assert "id='q0'  question='Who is 0?'" in said.getvalue()


def test_a_line_in_the_registry_makes_it_known_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"(?s)TSV is not read; .*Names that are known: \.parquet, \.pq, \.jsonl"):
        list_files([str(folder)], CorpusParameters())
    monkeypatch.setitem(FORMATS, "tsv", PLACE)
    assert [file.format for file in list_files([str(folder)], CorpusParameters())] == ["tsv", "tsv"]
    assert rows_of(validate_all(plan_of(folder))) == rows_of(validate_all(_plan(folder)))
    assert load_config(AnswerConfig, None, ["corpus.format=tsv"]).corpus.format == "tsv"


@pytest.mark.parametrize("format", ["csv", "Parquet", "pipelines.corpus"])
def test_a_format_that_is_not_known_is_a_config_error(format: str) -> None:
    words = f"corpus.format: there is no {format!r}; there are auto, parquet, jsonl, json, or package.module:OBJECT"
    with pytest.raises(ConfigError, match=words):
        load_config(AnswerConfig, None, [f"corpus.format={format}"])


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("absent_package.tsv:TSV", "corpus.format: absent_package.tsv:TSV cannot be imported.*on the workers too"),
        (PLACE.replace("TSV", "CSV"), "cannot be imported"),
        ("pipelines.errors:CorpusError", "corpus.format: pipelines.errors:CorpusError is no input format"),
    ],
)
def test_a_place_without_a_format(folder: Path, format: str, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        plan_of(folder, format=format)


@pytest.mark.parametrize("name", [*FORMATS, PLACE])
def test_what_every_format_is(name: str) -> None:
    format = find_format(name)
    assert isinstance(format, InputFormat)
    assert format is find_format(name)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in format.suffixes)
    empty = format.empty(("id", "text"))
    assert len(empty) == 0
    assert len(PLACE_MARKS.keys() & set(empty.column_names)) == 1


def test_a_format_that_lacks_a_method_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pipelines.corpus.formats.tab_separated.HALF", _Half(), raising=False)
    with pytest.raises(CorpusError, match="is no input format"):
        find_format(PLACE.replace("TSV", "HALF"))


class _Half:
    suffixes: tuple[str, ...] = (".half",)
    may_be_compressed: bool = False

    def empty(self, needed: Sequence[str]) -> pa.Table:
        return pa.table({})
