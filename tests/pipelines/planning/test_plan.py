"""A plan goes through JSON unchanged, but for what may be secret."""

import time
from dataclasses import replace

import orjson
import pyarrow as pa

from pipelines.config.job import Columns
from pipelines.corpus.source_file import SourceFile
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.planning.row_schema import RowSchema
from pipelines.storage.url import Url

CARRY = pa.schema([("n", pa.int32()), ("tags", pa.list_(pa.string()))])
LAYOUT = RowSchema("answer", Columns(question="q"), CARRY, 100, 4096)
FILES = (
    SourceFile(Url("/in/a.parquet"), "a.parquet", 1, "v1", "parquet", None),
    SourceFile(Url("s3://b/c?d#e.jsonl.gz"), "c?d#e.jsonl.gz", 2, "v2", "jsonl", "gzip"),
)
PLAN = Plan(
    FILES, (ReadUnit(0, 0, 0, 2, 0, 10), ReadUnit(1, 0, 2, 3, 10, 5), ReadUnit(2, 1, 0, 2, 0, None)), LAYOUT, 99
)


def test_there_and_back() -> None:
    assert Plan.from_json(orjson.loads(orjson.dumps(PLAN.to_json()))) == PLAN


def test_what_a_layout_needs() -> None:
    assert LAYOUT.needed == ("id", "q", "context", "n", "tags")
    assert LAYOUT.roles == {"question": "q", "context": "context"}
    assert replace(LAYOUT, kind="embed").needed == ("id", "text", "n", "tags")
    assert PLAN.file_of(PLAN.units[2]) == FILES[1]


def test_secrets_of_urls_stay_out_and_come_back_with_the_listing() -> None:
    signed = (
        replace(FILES[0], url=Url("https://me:pw@host/a.parquet?sig=hush")),
        replace(FILES[1], url=Url("ftp://me:pw@h/c")),
    )
    plan = replace(PLAN, files=signed)
    stored = orjson.dumps(plan.to_json())
    assert b"hush" not in stored
    assert b"pw" not in stored
    assert Plan.from_json(orjson.loads(stored)).reading(signed) == plan


def test_a_hundred_thousand_units_are_no_burden() -> None:
    plan = replace(PLAN, units=tuple(ReadUnit(i, 0, i, i + 1, i * 4096, 4096) for i in range(100_000)))
    begun = time.process_time()
    stored = orjson.dumps(plan.to_json())
    assert Plan.from_json(orjson.loads(stored)) == plan
    assert len(stored) < 4_000_000
    assert time.process_time() - begun < 5.0
