"""Receipts travel as rows of tables."""

from collections import Counter

import pyarrow as pa

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.output.agreement import RowAgreement
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
    misfits=Counter({("zip", "null"): 2}),
    agreement=RowAgreement(1, (True,), (0.25,), ()).to_json(),
    stats=PassStats({64: LengthBucket(2, 9, 100, 120, 0.5)}, Counter({256: 2}), 1),
)


def test_there_and_back_in_one_table() -> None:
    shard = ShardId(1, 3, False)
    lost = Receipt(shard, "a.jsonl", failed_in="write", error="no room", permanent=True, store_errors=7, committed=5.0)
    found = Receipt(shard, "a.jsonl", found=True, committed=6.0)
    table = Receipt.to_table([DONE, lost, found])
    assert table.schema == RECEIPT_SCHEMA
    joined = pa.concat_tables([table.slice(1), table.slice(0, 1)]).combine_chunks()
    assert Receipt.from_table(joined) == [lost, found, DONE]
