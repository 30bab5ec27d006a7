"""What became of a job's rows: held against the bare engine, and against what was committed when."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.output.manifest import read_manifest
from pipelines.output.parts import SUCCESS_NAME, ShardId
from pipelines.output.receipt_log import read_ledger
from pipelines.output.sinks.folder import PartsFolder
from pipelines.storage.filesystem import resolve
from tests.chaos.watch import Watch
from tests.pipelines.jobs import part_rows, same_answer

_LOOK_SECONDS = 0.25
"""At most this long after its look at the output an actor has started its clock."""


@dataclass
class Verdict:
    """Counts over one job or several."""

    lost: int = 0
    """Rows of the input that are not in the output, or were there once and are gone."""
    twice: int = 0
    """Rows too many."""
    wrong: int = 0
    """Rows with another span, or a score off by more than 1e-4, or an id that nobody asked for."""
    recomputed: int = 0
    """Shards whose computation began after they had been committed."""
    written_again: int = 0
    """Parts that were replaced by equal ones: computed by two at once, or written by a worker whose word was lost."""
    receipts: int = 0
    """Receipts of work done, each of which was held against the time its shard was committed."""
    shards: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        """Counts another job."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def is_good(self) -> bool:
        """True when nothing went wrong."""
        return not (self.lost or self.twice or self.wrong or self.recomputed or self.problems)

    def summary(self) -> str:
        """One line."""
        words = f"lost {self.lost}, twice {self.twice}, wrong {self.wrong}, recomputed {self.recomputed}"
        return "; ".join((f"{words}, written again {self.written_again}", *self.problems))


def judge(output: Path, watch: Watch, expected: Sequence[dict[str, Any]], may_write_again: bool) -> Verdict:
    """Looks at a job that has ended; `expected` has the rows of its output in order."""
    verdict = Verdict(shards=len(watch))
    rows = part_rows(output)
    wanted = {row["id"]: row for row in expected}
    counts = Counter(row["id"] for row in rows)
    verdict.lost = sum(name not in counts for name in wanted)
    verdict.twice = sum(count - 1 for count in counts.values())
    verdict.wrong = sum(row["id"] not in wanted or not same_answer(row, wanted[row["id"]]) for row in rows)
    if verdict.lost + verdict.twice == 0 and [row["id"] for row in rows] != list(wanted):
        verdict.problems.append("the rows are in another order")
    if not (output / SUCCESS_NAME).exists():
        verdict.problems.append("no _SUCCESS")
    if watch.vanished:
        verdict.problems.append(f"parts vanished: {sorted(watch.vanished)[:3]}")
    verdict.written_again = len(watch.written_again)
    if watch.written_again and not may_write_again:
        verdict.problems.append(f"parts were written again: {sorted(watch.written_again)[:3]}")
    _judge_receipts(output, watch, verdict)
    return verdict


def _judge_receipts(output: Path, watch: Watch, verdict: Verdict) -> None:
    store = resolve(str(output))
    manifest = read_manifest(store)
    assert manifest is not None
    receipts = read_ledger(PartsFolder(store, manifest.job8, "parquet")).to_pylist()
    done = [row for row in receipts if not row["found"] and not row["failed_in"]]
    there = dict(watch.first_seen)
    names = [ShardId(row["unit"], row["number"], row["last"]).part_name(manifest.job8, "parquet") for row in done]
    for name, row in zip(names, done, strict=True):
        there[name] = min(there[name], row["committed"])
    verdict.receipts = len(done)
    for name, row in zip(names, done, strict=True):
        late = row["started"] - there[name]
        if late > _LOOK_SECONDS:
            verdict.recomputed += 1
            verdict.problems.append(f"{name} was begun {late:.2f} s after it had been committed (run {row['run']})")
