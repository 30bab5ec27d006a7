"""Random corpora through planning, reading, validation and writing: every value is what it was, or said not to be.

The steps are those of a job, without Ray; the model's columns are made up. A failure names the seed, of which `_check`
makes the same corpus again. SPANMILL_FUZZ_SEED takes other corpora.
"""

import base64
import json
import math
import os
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.models.loading import load_spec
from actors.parameters import QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import CorpusError
from pipelines.output.parts import Committed
from pipelines.output.receipt import Receipt
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning import planner
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.schemas import empty_table, output_schema
from pipelines.stages.messages import IpcTable, RawMessage, ResultsMessage, SettledMessage, TokenizedMessage
from pipelines.stages.model.run import ModelRun
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.prepare import PrepareStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage
from pipelines.storage.filesystem import resolve
from tests.pipelines.rows.random_corpus import NO_ID, Corpus, Row, make_corpus

_ROOT = Path(__file__).parents[3]
_FIRST = int(os.environ.get("SPANMILL_FUZZ_SEED", "0"))


_TYPES = ("string", "int64", "double", "bool", "date", "timestamp[us]", "decimal(20, 2)", "list<string>", "list<int8>")


@pytest.fixture(scope="module")
def spec() -> EncoderSpec:
    return load_spec(_ROOT / "models" / "minilm-qa")


def test_a_few_corpora(spec: EncoderSpec, tmp_path: Path) -> None:
    files = sum(_check(seed, tmp_path / str(seed), spec) for seed in range(_FIRST, _FIRST + 15))
    assert files > 30


@pytest.mark.more
@pytest.mark.parametrize("first", range(1000, 1300, 30))
def test_many_corpora(spec: EncoderSpec, tmp_path: Path, first: int) -> None:
    files = sum(_check(seed, tmp_path / str(seed), spec) for seed in range(_FIRST + first, _FIRST + first + 30))
    assert files > 50


def _check(seed: int, folder: Path, spec: EncoderSpec) -> int:
    """Runs a random corpus; the number of its files."""
    try:
        (folder / "in").mkdir(parents=True)
        corpus = make_corpus(seed, folder / "in")
        rng = Random(seed)
        # Short heads leave values for later, as those of large files do.
        late = rng.random() < 0.3
        types = {name: rng.choice(_TYPES) for name in corpus.carry if rng.random() < 0.1}
        with patch.multiple(planner, _MOST_HEAD_BYTES=200 if late else 1 << 20):
            plan = _plan(corpus, rng, types)
        if plan is None:
            return len(corpus.rows)
        format = rng.choice(["parquet", "jsonl"])
        receipts = _run(plan, folder / "out", format, spec)
        _compare(corpus, plan, folder / "out", format, receipts, types if not late else dict.fromkeys(corpus.carry, ""))
    except Exception as error:
        error.add_note(f"the corpus of seed {seed}")
        raise
    return len(corpus.rows)


def _plan(corpus: Corpus, rng: Random, types: dict[str, str]) -> Plan | None:
    """The plan; None where there is a column that no file shows."""
    parameters = CorpusParameters(
        carry=corpus.carry, types=types, shard_rows=rng.randint(1, 9), unit_bytes=rng.choice([100, 1000, 1 << 20])
    )
    try:
        return make_plan(list_files([str(corpus.folder)], parameters), parameters, "answer")
    except CorpusError as error:
        declared = {name for row in corpus.all_rows for name in row.types}
        absent = [name for name in corpus.carry if name not in declared and f"no column {name!r}" in str(error)]
        if not absent:
            raise
        return None


def _run(plan: Plan, output: Path, format: str, spec: EncoderSpec) -> list[Receipt]:
    """The stages of a job, with made-up answers."""
    qa = QAParameters()
    schema = output_schema(plan.layout.carry, Wanted(qa), 4)
    read, prepare = ReadStage(plan.layout, {}), PrepareStage(plan.layout, spec, qa, None)
    write = WriteStage(PartsFolder(resolve(str(output)), "0123abcd", format), schema, {})
    found = []
    for table in read(PendingUnit.to_table(PendingUnit.left(plan, Committed({}, {}, ())))):
        prepared = prepare.outcome(RawMessage.from_table(table).to_table())
        assert isinstance(prepared, TokenizedMessage), _error(prepared)
        rows = prepared.rows.read().num_rows
        answers = pa.table([pa.nulls(rows, field.type) for field in _answers(schema)], schema=_answers(schema))
        answers = answers.set_column(1, "score", pa.array([0.5] * rows, schema.field("score").type))
        run = IpcTable.of(ModelRun.begin().to_table())
        message = ResultsMessage(prepared.header, prepared.rows, prepared.quarantine, IpcTable.of(answers), run)
        [receipt] = Receipt.from_table(write(message.to_table()))
        assert not receipt.failed_in, receipt.error
        found.append(receipt)
    return found


def _error(message: Any) -> str:
    return message.error if isinstance(message, SettledMessage) else repr(message)


def _answers(schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in ("answer", "score", "start", "end")])


def _compare(
    corpus: Corpus, plan: Plan, output: Path, format: str, receipts: list[Receipt], may_lose: Mapping[str, str]
) -> None:
    """`may_lose` names columns of values that their type was not made of."""
    rows = corpus.all_rows
    good = [row for row in rows if row.is_good]
    written = _written(output, format, output_schema(plan.layout.carry, Wanted(QAParameters()), 4))
    quarantined = sum(receipt.quarantined for receipt in receipts)
    assert (len(written), quarantined) == (len(good), len(rows) - len(good))
    misfits = sum((receipt.misfits for receipt in receipts), Counter[tuple[str, str]]())
    for row, found in zip(good, written, strict=True):
        assert ("@" in found["id"] or ":" in found["id"]) if row.id is NO_ID else found["id"] == row.id
    for field in plan.layout.carry:
        # Parts of JSON Lines have null for infinity, in columns that can hold some.
        has_infinity = pa.types.is_floating(field.type) or pa.types.is_nested(field.type)
        kind = format if has_infinity else ""
        pairs = [(row, found[field.name]) for row, found in zip(good, written, strict=True)]
        lost = [row for row, value in pairs if value is None and not _is_missing(row.values.get(field.name), kind)]
        assert len(lost) == misfits[field.name, "null"], (field, [row.values[field.name] for row in lost])
        for row, value in pairs:
            given = row.values.get(field.name)
            assert value is None or _means(value, given, format), (field, row.types.get(field.name), given, value)
        if field.name not in may_lose:
            assert all(_may_be_lost(row, field) for row in lost), (field, [row.values[field.name] for row in lost])
            assert not misfits[field.name, "text"], field


def _written(output: Path, format: str, schema: pa.Schema) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part in sorted(output.glob("part-*")):
        if format == "jsonl":
            rows += map(json.loads, part.read_text(encoding="utf-8").splitlines())
        else:
            table = pq.read_table(part)
            assert table.schema.names == schema.names
            rows += table.to_pylist()
    assert rows or pa.concat_tables([empty_table(schema)]).num_rows == 0
    return rows


def _is_missing(value: Any, format: str) -> bool:
    """Null, or what is no number to JSON: NaN, and in a part of JSON Lines infinity."""
    is_number = not isinstance(value, float) or math.isfinite(value) or (math.isinf(value) and format != "jsonl")
    return value is None or not is_number


def _may_be_lost(row: Row, field: pa.Field) -> bool:
    """Only numbers that a double does not hold exactly, and times out of a finer unit's range."""
    return any(word in str(field.type) for word in ("double", "timestamp", "decimal"))


def _means(found: Any, value: Any, format: str) -> bool:
    """Whether what was written, in its type or as text or JSON, stands for the value."""
    if value is None or found is None:
        return found is None and _is_missing(value, format)
    if isinstance(value, dict):
        given = _read(found, dict)
        more = {name: one for name, one in given.items() if name not in value} if isinstance(given, dict) else None
        return (
            more is not None
            and all(one is None for one in more.values())
            and all(_means(given.get(name), one, format) for name, one in value.items())
        )
    if isinstance(value, list | tuple):
        given = _read(found, list)
        return (
            isinstance(given, list | tuple)
            and len(given) == len(value)
            and all(_means(one, other, format) for one, other in zip(given, value, strict=True))
        )
    return _scalar_means(found, value)


def _spells(text: str, found: Any) -> bool:
    """Whether a late text is in a column of another type as what it spells."""
    if isinstance(found, date | str) and "-" in text:
        return bool(datetime.fromisoformat(text) == datetime.fromisoformat(str(found)))
    if isinstance(found, Decimal | str):
        return Decimal(text) == Decimal(found)
    return bool(json.loads(text) == found)


def _parsed(kind: Any, text: str) -> Any:
    # Python 3.11 reads fractions of three and of six digits only.
    return kind.fromisoformat(re.sub(r"\.(\d+)", lambda found: "." + found[1].ljust(6, "0"), text))


def _read(found: Any, kind: type) -> Any:
    return json.loads(found) if isinstance(found, str) else found


def _scalar_means(found: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return found is value or found == ("true" if value else "false")
    if isinstance(value, float) and not math.isfinite(value):
        return math.isnan(value) or found in (value, "Infinity" if value > 0 else "-Infinity")
    if isinstance(value, int | float | Decimal):
        return not isinstance(found, bool) and bool(found == value or Decimal(str(found)) == Decimal(str(value)))
    if isinstance(value, bytes):
        return bool((base64.b64decode(found) if isinstance(found, str) else found) == value)
    if isinstance(value, uuid.UUID):
        return str(found) == str(value)
    if isinstance(value, timedelta):
        return found in (value, str(value), f"{value // timedelta(microseconds=1)}us")
    if isinstance(value, datetime):
        given = _parsed(datetime, found) if isinstance(found, str) else found
        return bool(given == value)
    if isinstance(value, date | time):
        return bool((_parsed(type(value), found) if isinstance(found, str) else found) == value)
    return bool(found == value) or _spells(value, found)
