"""Bad input, case by case, as docs/bad-input.md lists it: a quarantined row or an error that says how to mend it.

What a whole job makes of bad files is in test_bad_files.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import DistilBertModel

from actors.errors import ModelError
from pipelines.errors import SpanmillError
from pipelines.job.job import bind
from pipelines.rows.quarantine import Reason
from tests.pipelines.helpers import jsonl, plan_of, qa_rows, quarantine_of, rows_of, validate_all
from tests.pipelines.jobs import make_job, write_jsonl
from tests.pipelines.s3_server import S3Server

TABLE = Path(__file__).parents[2] / "docs" / "bad-input.md"


def test_the_table_has_every_reason() -> None:
    first_cells = [line.split("|")[3] for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    written = re.findall(r"`(\w+)`", " ".join(first_cells))
    assert sorted(set(Reason) - set(written)) == []


# Rows


def test_bad_lines_cost_themselves(tmp_path: Path) -> None:
    good = {"question": "Who?", "context": "Ada waits."}
    lines: list[tuple[object, str | None]] = [
        ({**good, "id": "a", "question": None}, "null_question"),
        ({"id": "b", "question": "Who?"}, "null_context"),
        ({**good, "id": "c", "question": ""}, "empty_question"),
        ({**good, "id": "d", "context": "\u3000\n"}, "empty_context"),
        ({**good, "id": "e", "context": ["Ada waits."]}, "wrong_type"),
        ({**good, "id": 1.5}, None),
        (b'{"id": "f", "question": "Who?\xff", "context": "c"}', "invalid_utf8"),
        (b'{"id": "g", "question": "Who?', "malformed_json"),
        (b'{"id": "h", "question": "Who?\x01", "context": "c"}', "malformed_json"),
        (b'["i"]', "not_an_object"),
        (rb'{"id": "j", "question": "Who? \ud800", "context": "c"}', "lone_surrogate"),
        ({**good, "id": "control", "context": "Ada\x00 \x1bwaits."}, None),
        ({**good, "id": "twice"}, None),
        ({**good, "id": "twice"}, None),
        ({**good, "id": "k", "context": "word " * 2_000_000}, "text_too_long"),
        ({**good, "id": "l", "context": "x" * 50_000_000}, "text_too_long"),
        ({**good, "id": "m", "question": "x" * ((4 << 20) + 1)}, "text_too_long"),
        ({**good, "id": "just", "question": "x" * (4 << 20)}, None),
        (b"x" * (65 << 20), "line_too_long"),
        ({**good, "id": "last"}, None),
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [line for line, _ in lines])
    shards = validate_all(plan_of(path, unit_bytes=20 << 20))
    replaced, *ids = [row["id"] for row in rows_of(shards)]
    assert ids == ["control", "twice", "twice", "just", "last"]
    assert replaced == f"a.jsonl@{len(jsonl([line for line, _ in lines[:5]]))}"
    quarantine = quarantine_of(shards)
    assert [row["reason"] for row in quarantine] == [reason for _, reason in lines if reason]
    assert all(row["file"] == "a.jsonl" and row["detail"] and len(row["row"]) <= 2000 for row in quarantine)
    by_reason = {row["reason"]: row for row in quarantine}
    assert "'context' is a JSON array, and a string is needed" in [row["detail"] for row in quarantine]
    assert "longer than 4,194,304 bytes; raise corpus.max_text_bytes" in by_reason["text_too_long"]["detail"]
    assert "no line end within 67,108,864 bytes" in by_reason["line_too_long"]["detail"]


def test_bad_parquet_rows_cost_themselves(tmp_path: Path) -> None:
    values = {
        b"Ada waits.": None,
        b"\xff": "invalid_utf8",
        "\ud800".encode("utf-8", "surrogatepass"): "invalid_utf8",
        None: "null_text",
        b"": "empty_text",
        b"\t": "empty_text",
        b"Ada\x00 waits.": None,
        b"word " * 2_000_000: "text_too_long",
        b"Ada waits again.": None,
    }
    text = pa.array(list(values), pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ["same"] * len(values), "text": text}), tmp_path / "a.parquet")
    shards = validate_all(plan_of(tmp_path / "a.parquet", kind="embed"))
    assert [(row["place"], row["reason"]) for row in quarantine_of(shards)] == [
        (place, reason) for place, reason in enumerate(values.values()) if reason
    ]
    assert [row["id"] for row in rows_of(shards)] == ["same"] * 3


def test_the_longest_text_can_be_set(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "é" * 5}, {"text": "é" * 4}])
    shards = validate_all(plan_of(path, kind="embed", max_text_bytes=8))
    assert [row["text"] for row in rows_of(shards)] == ["é" * 4]
    assert [row["reason"] for row in quarantine_of(shards)] == ["text_too_long"]


# Whole jobs


@dataclass
class Command:
    """A job that is asked for, in a folder of its own."""

    folder: Path
    model: Path
    inputs: Sequence[Path | str] = ()
    output: Path | str = ""
    words: list[str] = field(default_factory=list)

    def corpus(self, count: int = 3) -> Path:
        """A good JSONL file."""
        return write_jsonl(self.folder / "in" / "good.jsonl", qa_rows(count))

    def parquet(self, name: str, *rows: dict[str, Any]) -> Path:
        """A Parquet file beside it, of good rows unless others are named."""
        path = self.folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows) or qa_rows(3)), path)
        return path

    def refusal(self) -> str:
        """The message that keeps the job from starting; nothing is written."""
        output = self.output or self.folder / "out"
        with pytest.raises((SpanmillError, ModelError)) as raised:
            bind(make_job(self.inputs or [self.folder / "in"], output, self.model, *self.words), replace=False)
        assert not (self.folder / "out").exists()
        return str(raised.value)


@pytest.fixture
def command(tmp_path: Path, untrained_model: Path) -> Command:
    return Command(tmp_path, untrained_model)


def _damaged_files(command: Command) -> str:
    for name in ("a", "b", "c", "d"):
        path = command.parquet(f"{name}.parquet")
        if name in "bd":
            path.write_bytes(path.read_bytes()[:-20])
    return r"^2 of 4 files cannot be used\. To leave files out, .*\n  b\.parquet: damaged.*\n  d\.parquet: damaged"


def _other_columns(command: Command) -> str:
    command.parquet("a.parquet")
    command.parquet("b.parquet", {"id": "1", "question": "q", "passage": "c"})
    return r"^b\.parquet: there is no column 'context'.*Map it: --set .*leave the file out"


def _other_fields(command: Command) -> str:
    command.corpus()
    write_jsonl(command.folder / "in" / "z.jsonl", [{"question": "q", "passage": "c"}] * 20)
    return r"^z\.jsonl: there is no column 'context'.*Map it: --set .*leave the file out"


def _wrong_type(command: Command) -> str:
    command.parquet("a.parquet", {"question": 1, "context": "c"})
    return r"^a\.parquet: column 'question' is of type int64, and string is needed"


def _csv(command: Command) -> str:
    command.corpus()
    (command.folder / "in" / "z.json").write_text("id,question,context\n" * 50)
    return r"^z\.json: of its first 50 lines only 0 hold a JSON object.*Convert"


def _empty_folder(command: Command) -> str:
    (command.folder / "in").mkdir()
    return "/in: the folder holds no file"


def _taken_name(command: Command) -> str:
    command.corpus()
    command.words += ["corpus.carry=[score]"]
    return r"^corpus\.carry: the output has a column 'score' of its own. Leave it out, or rename it"


def _typo(command: Command) -> str:
    command.words += ["corpus.carri=[title]"]
    return r"unknown key corpus\.carri; the nearest is corpus\.carry"


def _no_weights(command: Command) -> str:
    _copied_model(command).joinpath("model.safetensors").unlink()
    return "model holds no weights: .*copy the whole model"


def _cut_weights(command: Command) -> str:
    weights = _copied_model(command) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    return "model: the weights cannot be loaded: .*copy or download the model again"


def _no_head(command: Command) -> str:
    DistilBertModel.from_pretrained(command.model).save_pretrained(_copied_model(command))
    return "without a QA head .*fine-tuned for question answering"


def _slow_tokenizer(command: Command) -> str:
    folder = _copied_model(command)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CanineTokenizer"}))
    return r"CanineTokenizer is no fast tokenizer; add a tokenizer\.json"


def _other_tokenizer(command: Command) -> str:
    path = _copied_model(command) / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["lighthouse"] = 100_000
    path.write_text(json.dumps(tokenizer))
    return r"token ids up to 100000, .* use the tokenizer that the model was trained with"


def _copied_model(command: Command) -> Path:
    command.corpus()
    command.model = Path(copytree(command.model, command.folder / "model"))
    return command.model


@pytest.mark.parametrize(
    "case",
    [
        _damaged_files,
        _other_columns,
        _other_fields,
        _wrong_type,
        _csv,
        _empty_folder,
        _taken_name,
        _typo,
        _no_weights,
        _cut_weights,
        _no_head,
        _slow_tokenizer,
        _other_tokenizer,
    ],
)
def test_a_job_that_cannot_be_done_says_why(command: Command, case: Callable[[Command], str]) -> None:
    expected = case(command)
    assert re.search(expected, command.refusal()), command.refusal()


def test_the_output_of_another_job_is_kept(command: Command) -> None:
    command.corpus()
    output = command.folder / "another"
    bind(make_job([command.folder / "in"], output, command.model), replace=False)
    before = {path: path.read_bytes() for path in output.iterdir()}
    command.output, command.words = output, ["qa.top_k=3"]
    assert re.search(r"qa\.top_k: 1 -> 3\n(.*\n)*.*--overwrite", command.refusal())
    assert {path: path.read_bytes() for path in output.iterdir()} == before


# Stores


@pytest.mark.parametrize(
    ("place", "changed", "words"),
    [
        ("s3://nowhere/in", {}, "s3://nowhere/in: there is no such file or folder. Check .* bucket"),
        ("s3://bucket/none", {}, "s3://bucket/none: there is no such file or folder. Check .*"),
        ("s3://bucket/none/*.jsonl", {}, "no file matches this pattern. Check the path"),
        (
            "s3://bucket/in",
            {"key": "wrong"},
            "s3://bucket/in: .*Forbidden.* Check rights and credentials: corpus.storage",
        ),
        ("s3://bucket/in", {"secret": "wrong"}, "s3://bucket/in: .*Forbidden.* Check rights and credentials"),
    ],
)
def test_a_wrong_bucket_or_key_of_the_input(
    command: Command, s3: S3Server, place: str, changed: dict[str, str], words: str
) -> None:
    command.inputs = [place]
    command.words = [f"corpus.storage={orjson.dumps(s3.options | changed).decode()}"]
    assert re.search(words, command.refusal()), command.refusal()


@pytest.mark.parametrize(
    ("place", "changed", "words"),
    [
        ("s3://nowhere/out", {}, "nowhere/out.*Check the URL, bucket"),
        (
            "s3://bucket/out",
            {"secret": "wrong"},
            "bucket/out.*Forbidden.* Check rights and credentials.*output.storage",
        ),
    ],
)
def test_a_wrong_bucket_or_key_of_the_output(
    command: Command, s3: S3Server, place: str, changed: dict[str, str], words: str
) -> None:
    command.corpus()
    command.output = place
    command.words = [f"output.storage={orjson.dumps(s3.options | changed).decode()}"]
    assert re.search(words, command.refusal()), command.refusal()


@contextmanager
def _without_roots_rights() -> Iterator[None]:
    """Root may read and write everything, so it becomes nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public(untrained_model: Path) -> Iterator[Command]:
    """A command in a folder that everybody reaches, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    model = Path(copytree(untrained_model, folder / "model"))
    for path in model.iterdir():
        path.chmod(0o644)
    yield Command(folder, model)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["in", "in/below", "in/below/b.jsonl"])
def test_an_input_that_may_not_be_read(public: Command, name: str) -> None:
    public.corpus()
    write_jsonl(public.folder / "in" / "below" / "b.jsonl", qa_rows(3))
    (public.folder / name).chmod(0)
    with _without_roots_rights():
        message = public.refusal()
    (public.folder / name).chmod(0o755)
    assert re.search(rf"PermissionError.*{public.folder / name}'\. Check rights", message), message


def test_a_folder_that_does_not_count_may_be_closed(public: Command) -> None:
    corpus = public.corpus()
    (corpus.parent / ".trash").mkdir(mode=0)
    with _without_roots_rights():
        job = make_job([corpus.parent], public.folder / "out", public.model)
    (corpus.parent / ".trash").chmod(0o755)
    assert [file.name for file in job.plan.files] == ["good.jsonl"]


def test_an_output_that_may_not_be_written(public: Command) -> None:
    public.corpus()
    (public.folder / "closed").mkdir(mode=0o555)
    public.output = public.folder / "closed" / "out"
    with _without_roots_rights():
        message = public.refusal()
    assert re.search(r"closed/out.*PermissionError.*Check rights", message), message


def test_lines_of_nothing_are_a_corpus_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "b.jsonl").write_bytes(b"\n \n")
    pq.write_table(pa.table({"question": pa.array([], pa.string()), "context": []}), tmp_path / "c.parquet")
    shards = validate_all(plan_of(tmp_path))
    assert [len(shard.rows) + len(shard.quarantine) for shard in shards] == [0, 0, 0]


def test_a_short_line_is_not_judged_by_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([b"{", {"question": "q", "context": "c"}, b"}"]))
    assert len(rows_of(validate_all(plan_of(path)))) == 1
