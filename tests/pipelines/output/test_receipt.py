"""Receipts travel as rows of tables."""

from collections import Counter

import pyarrow as pa

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.errors import StorageError
from pipelines.output.messages import ShardMessage
from pipelines.output.parts import ShardId
from pipelines.output.receipt import RECEIPT_SCHEMA, Receipt

DONE = Receipt(
    ShardId(1, 2, True),
    "a.jsonl",
    store_errors=2,
    rows=10,
    quarantined=3,
    answered=8,
    bytes=4321,
    started=1000.5,
    seconds=2.25,
    committed=1003.0,
    node="mill-3",
    reasons=Counter(null_text=2, crashed=1),
    scores=(0,) * 19 + (8,),
    stats=PassStats({64: LengthBucket(2, 9, 100, 120, 0.5)}, Counter({256: 2}), 1),
)


def test_there_and_back_in_one_table() -> None:
    ticket = ShardMessage(1, 3, False, "a.jsonl", store_errors=7)
    lost = Receipt.of_settled(ticket.failed("write", StorageError("no room", permanent=True)), 5.0)
    found = Receipt.of_settled(ticket.already_there(), 6.0)
    table = Receipt.to_table([DONE, lost, found])
    assert table.schema == RECEIPT_SCHEMA
    joined = pa.concat_tables([table.slice(1), table.slice(0, 1)]).combine_chunks()
    assert Receipt.from_table(joined) == [lost, found, DONE]


def test_of_a_shard_that_was_settled_before_it_was_written() -> None:
    ticket = ShardMessage(1, 3, False, "a.jsonl", store_errors=7)
    lost = Receipt.of_settled(ticket.failed("write", StorageError("no room", permanent=True)), 5.0)
    assert (lost.shard, lost.file) == (ShardId(1, 3, False), "a.jsonl")
    assert (lost.failed_in, lost.error, lost.permanent) == ("write", "no room", True)
    assert (lost.found, lost.rows, lost.store_errors, lost.committed) == (False, 0, 7, 5.0)
    found = Receipt.of_settled(ticket.already_there(), 6.0)
    assert (found.found, found.failed_in, found.rows) == (True, "", 0)
