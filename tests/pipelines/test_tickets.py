"""Tickets travel as rows of tables, however those are cut and joined."""

import pyarrow as pa

from pipelines.shards import ShardId
from pipelines.tickets import Ticket, read_ipc, write_ipc


def _ticket(number: int) -> Ticket:
    payloads = {"raw": pa.py_buffer(b"x" * number), "rows": write_ipc(pa.table({"n": [number]}))}
    return Ticket(3, number, number == 2, "a.jsonl").with_payloads(**payloads)


def test_there_and_back() -> None:
    found = Ticket.from_table(_ticket(2).to_table())
    assert found == _ticket(2)
    assert found.shard == ShardId(3, 2, True)
    assert read_ipc(found.payloads["rows"]).to_pylist() == [{"n": 2}]


def test_a_row_of_a_longer_table() -> None:
    """Ray joins and slices blocks as it likes; an array's offset must not be lost."""
    table = pa.concat_tables([_ticket(number).to_table() for number in range(3)]).combine_chunks()
    assert [Ticket.from_table(table.slice(number, 1)) for number in range(3)] == [_ticket(n) for n in range(3)]


def test_payloads_are_not_copied() -> None:
    table = _ticket(2).to_table()
    data = table["payload.rows"].chunk(0).buffers()[2]
    assert Ticket.from_table(table).payloads["rows"].address == data.address


def test_a_shard_that_was_given_up_carries_its_reason_only() -> None:
    failed = _ticket(1).failed("no room")
    assert Ticket.from_table(failed.to_table()) == Ticket(3, 1, False, "a.jsonl", "no room", {})
