"""Tickets travel as rows of tables, however those are cut and joined."""

from dataclasses import replace

import pyarrow as pa
import pytest

from actors.errors import ModelError
from pipelines.errors import CorpusError, StorageError
from pipelines.output.messages import ShardMessage, read_ipc, write_ipc
from pipelines.output.parts import ShardId


def _ticket(number: int) -> ShardMessage:
    payloads = {"raw": pa.py_buffer(b"x" * number), "rows": write_ipc(pa.table({"n": [number]}))}
    return ShardMessage(3, number, number == 2, "a.jsonl", store_errors=number).with_payloads(**payloads)


def test_there_and_back() -> None:
    found = ShardMessage.from_table(_ticket(2).to_table())
    assert found == _ticket(2)
    assert found.shard == ShardId(3, 2, True)
    assert not found.settled
    assert read_ipc(found.payloads["rows"]).to_pylist() == [{"n": 2}]


def test_a_row_of_a_longer_table() -> None:
    """Ray joins and slices blocks as it likes; an array's offset must not be lost."""
    table = pa.concat_tables([_ticket(number).to_table() for number in range(3)]).combine_chunks()
    assert [ShardMessage.from_table(table.slice(number, 1)) for number in range(3)] == [_ticket(n) for n in range(3)]


def test_payloads_are_not_copied() -> None:
    table = _ticket(2).to_table()
    data = table["payload.rows"].chunk(0).buffers()[2]
    assert ShardMessage.from_table(table).payloads["rows"].address == data.address


@pytest.mark.parametrize(
    ("error", "said", "permanent"),
    [
        (CorpusError("a.jsonl: cut short"), "a.jsonl: cut short", False),
        (ModelError("no head"), "no head", False),
        (ValueError("7"), "ValueError: 7", False),
        (StorageError("no answer"), "no answer", False),
        (StorageError("no room", permanent=True), "no room", True),
    ],
)
def test_a_shard_that_was_given_up_carries_its_reason_only(error: Exception, said: str, permanent: bool) -> None:
    failed = ShardMessage.from_table(_ticket(1).failed("write", error).to_table())
    bare = ShardMessage(3, 1, False, "a.jsonl", store_errors=1)
    assert failed == replace(bare, failed_in="write", error=said, permanent=permanent)
    assert failed.settled


def test_a_shard_that_was_there_carries_nothing() -> None:
    found = ShardMessage.from_table(_ticket(1).with_errors(4).already_there().to_table())
    assert found == ShardMessage(3, 1, False, "a.jsonl", found=True, store_errors=5)
    assert found.settled
