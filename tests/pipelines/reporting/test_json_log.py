"""Records of a job as lines of JSON, and what of them people see."""

import logging
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.errors import StorageError
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.reporting.json_log import JsonLog, logging_to

JOURNAL = JsonLog("0123abcd")
STATS = PassStats({64: LengthBucket(2, 9, 100, 120, 0.5), 128: LengthBucket(1, 2, 200, 210, 0.5)}, Counter({256: 3}))
DONE = Receipt(
    ShardId(3, 14, True),
    "a.jsonl",
    rows=9,
    answered=8,
    quarantined=2,
    bytes=70,
    seconds=1.23456,
    node="mill",
    stats=STATS,
)
FAILED = Receipt(ShardId(3, 15, True), "a.jsonl", failed_in="read", error="cut\noff", store_errors=4)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_every_event_is_a_line_that_names_job_shard_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.jsonl"
    begun = datetime.now(UTC).replace(microsecond=0)
    with logging_to(path):
        JOURNAL.add(DONE)
        JOURNAL.add(FAILED)
    with logging_to(path):
        JOURNAL.add(Receipt(ShardId(0, 1, False), "b.jsonl", found=True))
        logging.getLogger("spanmill.store").warning("%s: again", "s3://b", extra={"action": "reading", "attempt": 2})
    JOURNAL.add(DONE)
    lines = _lines(path)
    assert all(begun <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC) for line in lines)
    of_job = {"logger": "spanmill.job", "job": "0123abcd"}
    assert lines == [
        {
            "level": "INFO",
            "event": "shard committed",
            **of_job,
            "shard": "3-14",
            "file": "a.jsonl",
            "input_rows": 11,
            "written_rows": 9,
            "answered": 8,
            "quarantined": 2,
            "bytes": 70,
            "seconds": 1.235,
            "node": "mill",
            "passes": 3,
            "tokens": 300,
            "store_errors": 0,
        },
        {
            "level": "WARNING",
            "event": "shard failed",
            **of_job,
            "shard": "3-15",
            "file": "a.jsonl",
            "stage": "read",
            "error": "cut\noff",
            "store_errors": 4,
        },
        {
            "level": "INFO",
            "event": "shard found committed",
            **of_job,
            "shard": "0-1",
            "file": "b.jsonl",
            "store_errors": 0,
        },
        {"level": "WARNING", "event": "s3://b: again", "logger": "spanmill.store", "action": "reading", "attempt": 2},
    ]
    # The progress shows the shards that failed.
    assert capsys.readouterr().err == "s3://b: again\n"


def test_values_that_are_lost_are_warnings_with_their_mend(tmp_path: Path) -> None:
    path = tmp_path / "job.jsonl"
    with logging_to(path):
        JOURNAL.add(replace(DONE, misfits=Counter({("zip", "null"): 2, ("id", "default_id"): 1})))
    *lost, committed = _lines(path)
    assert committed["event"] == "shard committed"
    of_job = {"level": "WARNING", "event": "values not written as they are", "file": "a.jsonl"}
    assert [{**line, **of_job} for line in lost] == lost
    assert [(line["column"], line["written"], line["rows"], line["mend"]) for line in lost] == [
        ("zip", "null", 2, "corpus.types: {zip: string}"),
        ("id", "default_id", 1, ""),
    ]


def test_without_a_file_only_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(None):
        JOURNAL.add(DONE)
        JOURNAL.add(FAILED)
        logging.getLogger("spanmill.store").info("quiet")
        logging.getLogger("spanmill.ledger").warning("receipts not written")
    assert capsys.readouterr().err == "receipts not written\n"


def test_afterwards_everything_is_as_it_was(tmp_path: Path) -> None:
    logger = logging.getLogger("spanmill")
    before = (logger.level, list(logger.handlers))
    with logging_to(tmp_path / "job.jsonl"):
        assert logger.isEnabledFor(logging.INFO)
    assert (logger.level, logger.handlers) == before


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"none/job\.jsonl: the log cannot be written"),
        logging_to(tmp_path / "none/job.jsonl"),
    ):
        raise AssertionError("logging to nowhere")
