"""Receipts travel as rows of tables."""

from collections import Counter

import pyarrow as pa

from actors.stats import PassStats
from pipelines.receipts import Receipt
from pipelines.shards import ShardId
from pipelines.tickets import Ticket


def test_there_and_back_in_one_table() -> None:
    stats = PassStats(2, 9, 100, 120, 0.5, 1, Counter({64: 2}), Counter({64: 9}))
    done = Receipt(ShardId(1, 2, True), "", 10, 3, 8, stats)
    lost = Receipt.of_failure(Ticket(1, 3, False, "a.jsonl", "no room"))
    table = pa.concat_tables([done.to_table(), lost.to_table()])
    assert Receipt.from_table(table) == [done, lost]
    assert (lost.error, lost.rows, lost.shard.number) == ("no room", 0, 3)
