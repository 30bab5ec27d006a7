"""What one run writes down, another reads."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.output.encoding import to_parquet
from pipelines.output.parts import ShardId, list_names
from pipelines.output.receipt import RECEIPT_SCHEMA, Receipt
from pipelines.output.receipt_log import RECEIPTS_FOLDER, ReceiptLog, is_receipt, read_ledger
from pipelines.output.sinks.folder import PartsFolder
from pipelines.storage.filesystem import Store, resolve, write_atomic

JOB = "0123abcd"
FIRST, SECOND = "20260102T030405-aaaaaa", "20260102T030406-000000"


def _receipts(first: int, stop: int) -> list[Receipt]:
    return [Receipt(ShardId(0, number, False), "a.jsonl", rows=number, node="n") for number in range(first, stop)]


def _add(ledger: ReceiptLog, receipts: Sequence[Receipt]) -> None:
    for receipt in receipts:
        ledger.add(receipt)


def _numbers(parts: PartsFolder) -> list[int]:
    numbers: list[int] = read_ledger(parts)["number"].to_pylist()
    return numbers


def test_what_runs_add_another_reads_run_by_run_in_order(store: Store) -> None:
    parts = PartsFolder(store, JOB, "parquet")
    second, first = ReceiptLog(parts, SECOND), ReceiptLog(parts, FIRST)
    _add(second, _receipts(2, 4))
    second.write()
    for numbers in ((9, 10), (0, 2)):
        _add(first, _receipts(*numbers))
        first.write()
    first.write()
    _add(ReceiptLog(PartsFolder(store, "ffffffff", "parquet"), FIRST), _receipts(0, 5))

    table = read_ledger(parts)
    assert table.schema.remove(len(RECEIPT_SCHEMA)) == RECEIPT_SCHEMA
    assert table["run"].to_pylist() == [FIRST] * 3 + [SECOND] * 2
    told = Receipt.from_table(table.drop(["run"]))
    assert told == [*_receipts(9, 10), *_receipts(0, 2), *_receipts(2, 4)]
    names = list_names(store, RECEIPTS_FOLDER)
    assert len(names) == 3, "a write with nothing to write makes no file"
    assert all(map(is_receipt, names))


def test_receipts_of_an_older_version_lack_what_came_later(store: Store) -> None:
    parts = PartsFolder(store, JOB, "parquet")
    older = Receipt.to_table(_receipts(0, 2)).drop_columns(["device_lost"])
    name = f"{RECEIPTS_FOLDER}/{JOB}-{FIRST}-00000.parquet"
    write_atomic(store.fs, store.path(name), to_parquet(older, {}))
    ledger = ReceiptLog(parts, SECOND)
    _add(ledger, _receipts(2, 3))
    ledger.write()
    table = read_ledger(parts)
    assert (table["number"].to_pylist(), table["device_lost"].to_pylist()) == ([0, 1, 2], [None, None, False])


def test_receipts_from_before_a_field_was_added_can_be_read(store: Store) -> None:
    parts = PartsFolder(store, JOB, "parquet")
    old = Receipt.to_table(_receipts(0, 2)).drop(["misfits"])
    name = f"{RECEIPTS_FOLDER}/{JOB}-{FIRST}-00000.parquet"
    write_atomic(store.fs, store.path(name), to_parquet(old, {}))
    _add(log := ReceiptLog(parts, SECOND), _receipts(2, 3))
    log.write()
    assert Receipt.from_table(read_ledger(parts).drop(["run"])) == _receipts(0, 3)


def test_receipts_of_other_jobs_are_not_read(store: Store) -> None:
    for job, count in ((JOB, 2), ("ffffffff", 3)):
        ledger = ReceiptLog(PartsFolder(store, job, "parquet"))
        _add(ledger, _receipts(0, count))
        ledger.write()
    assert len(read_ledger(PartsFolder(store, JOB, "parquet"))) == 2


def test_a_job_without_receipts(store: Store) -> None:
    table = read_ledger(PartsFolder(store, JOB, "parquet"))
    assert (len(table), table.column_names) == (0, [*RECEIPT_SCHEMA.names, "run"])


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    assert len({ReceiptLog(parts).run for _ in range(10)}) == 10


def test_many_receipts_are_written_before_the_end(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    _add(ReceiptLog(parts), _receipts(0, 2500))
    assert _numbers(parts) == list(range(2000))


def test_a_store_that_refuses_costs_figures_and_what_is_held_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    in_the_way = tmp_path / RECEIPTS_FOLDER
    in_the_way.write_text("a file")
    ledger = ReceiptLog(parts)
    with caplog.at_level(logging.WARNING, "spanmill"):
        _add(ledger, _receipts(0, 2500))
    refusals = [record for record in caplog.records if record.name == "spanmill.ledger"]
    assert len(refusals) == 2, "the job does not wait for the store with every further receipt"
    assert RECEIPTS_FOLDER in refusals[0].__dict__["error"]
    assert _numbers(parts) == []

    in_the_way.unlink()
    ledger.write()
    assert _numbers(parts) == list(range(2500))
    _add(ledger, _receipts(2500, 3000))
    ledger.write()
    assert _numbers(parts) == list(range(3000))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("0123abcd-20260102T030405-aaaaaa-00000.parquet", True),
        ("0123abcd-20260102T030405-aaaaaa-00000.parquet.bak", False),
        ("notes-20260102T030405-aaaaaa-00000.parquet", False),
        ("part-00000-00000z-0123abcd.parquet", False),
    ],
)
def test_names(name: str, ours: bool) -> None:
    assert is_receipt(name) == ours
