"""The verdict finds what it looks for: an output by hand, with one thing wrong with it at a time."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.job.job import Job, bind
from pipelines.output.parts import ShardId, write_success
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from tests.chaos.verdict import Verdict, judge
from tests.chaos.watch import Watch
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl
from tests.waiting import until

_SHARDS = (ShardId(0, 0, False), ShardId(0, 1, True))


@pytest.fixture
def job(tmp_path: Path, untrained_model: Path) -> Job:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(4))
    return bind(make_job([corpus], tmp_path / "out", untrained_model, "corpus.shard_rows=2"), replace=False)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path / "out") as opened:
        yield opened


def _rows() -> list[dict[str, Any]]:
    return [{"id": f"q{i}", "answer": "number", "score": 0.5, "start": 6, "end": 12} for i in range(4)]


def _commit(job: Job, shard: ShardId, rows: Sequence[dict[str, Any]]) -> None:
    job.parts.commit(shard, pa.Table.from_pylist(rows, job.schema), pa.table({}), {})


def _judged(job: Job, watch: Watch, rows: Sequence[dict[str, Any]]) -> Verdict:
    began = time.time()
    for shard, some in zip(_SHARDS, (rows[:2], rows[2:]), strict=True):
        _commit(job, shard, some)
    _keep(job, [Receipt(shard, "in.jsonl", started=began, committed=time.time()) for shard in _SHARDS])
    write_success(job.store, {})
    return _verdict(job, watch)


def _keep(job: Job, receipts: Sequence[Receipt]) -> None:
    ledger = ReceiptLog(job.parts)
    for receipt in receipts:
        ledger.add(receipt)
    ledger.write()


def _verdict(job: Job, watch: Watch) -> Verdict:
    until(lambda: len(watch) == len(_SHARDS))
    return judge(Path(job.store.root), watch, _rows(), may_write_again=False)


def test_a_good_job(job: Job, watch: Watch) -> None:
    verdict = _judged(job, watch, _rows())
    assert verdict.is_good
    assert (verdict.shards, verdict.receipts) == (2, 2)


def test_rows_lost_doubled_and_changed(job: Job, watch: Watch) -> None:
    first, second, third, _ = _rows()
    verdict = _judged(job, watch, [first, second, second, {**third, "score": 0.5002}])
    assert (verdict.lost, verdict.twice, verdict.wrong) == (1, 1, 1)


def test_a_shard_begun_after_it_was_committed(job: Job, watch: Watch) -> None:
    assert _judged(job, watch, _rows()).is_good
    later = time.time() + 1
    _keep(job, [Receipt(_SHARDS[0], "in.jsonl", started=later, committed=later + 1)])
    assert _verdict(job, watch).recomputed == 1
    _keep(job, [Receipt(_SHARDS[0], "in.jsonl", found=True, committed=later)])
    assert _verdict(job, watch).recomputed == 1


def _path(job: Job, shard: ShardId) -> Path:
    return Path(job.store.path(shard.part_name(job.manifest.job8, "parquet")))


def test_a_part_written_again_a_part_gone_and_no_mark(job: Job, watch: Watch) -> None:
    assert _judged(job, watch, _rows()).is_good
    part = _path(job, _SHARDS[0])
    until(lambda: time.time() - watch.first_seen[part.name] > 1)
    _commit(job, _SHARDS[0], _rows()[:2])
    os.unlink(job.store.path("_SUCCESS"))
    until(lambda: watch.written_again)
    os.unlink(_path(job, _SHARDS[1]))
    until(lambda: watch.vanished)
    verdict = _verdict(job, watch)
    assert verdict.lost == 2
    assert [problem.partition(":")[0] for problem in verdict.problems] == [
        "no _SUCCESS",
        "parts vanished",
        "parts were written again",
    ]
