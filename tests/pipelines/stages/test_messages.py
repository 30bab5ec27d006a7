"""Messages travel as rows of tables, however those are cut and joined."""

import pyarrow as pa
import pytest

from actors.errors import DeviceLost, ModelError, NoRoom
from pipelines.errors import CorpusError, ServiceChangedError, StorageError
from pipelines.output.parts import ShardId
from pipelines.stages.messages import IpcTable, RawMessage, SettledMessage, ShardHeader, TokenizedMessage


def _header(number: int) -> ShardHeader:
    return ShardHeader(ShardId(3, number, number == 2), "a.jsonl", store_errors=number)


def _message(number: int) -> TokenizedMessage:
    rows = IpcTable.of(pa.table({"n": [number]}))
    return TokenizedMessage(_header(number), rows, rows, IpcTable(pa.py_buffer(b"x" * number)))


def test_there_and_back() -> None:
    table = _message(2).to_table()
    found = TokenizedMessage.from_table(table)
    assert found == _message(2)
    assert found.rows.read().to_pylist() == [{"n": 2}]
    assert SettledMessage.found_in(table) is None


def test_a_row_of_a_longer_table() -> None:
    """Ray joins and slices blocks as it likes; an array's offset must not be lost."""
    table = pa.concat_tables([_message(number).to_table() for number in range(3)]).combine_chunks()
    found = [TokenizedMessage.from_table(table.slice(number, 1)) for number in range(3)]
    assert found == [_message(number) for number in range(3)]


def test_payloads_are_not_copied() -> None:
    message = _message(2)
    table = message.to_table()
    [data] = [table["payload.rows"].chunk(0).buffers()[2]]
    assert data.address == message.rows.data.address
    assert TokenizedMessage.from_table(table).rows.data.address == data.address
    column = message.rows.read()["n"].chunk(0).buffers()[1]
    assert data.address <= column.address < data.address + data.size


def test_a_stage_that_is_given_another_message_says_which() -> None:
    with pytest.raises(ValueError, match=r"a TokenizedMessage was expected, and the message has unit, .*payload\.rows"):
        TokenizedMessage.from_table(RawMessage(_header(1), _message(1).rows).to_table())


@pytest.mark.parametrize(
    ("error", "said", "mark"),
    [
        (CorpusError("a.jsonl: cut short"), "a.jsonl: cut short", ""),
        (ModelError("no head"), "no head", ""),
        (ValueError("7"), "ValueError: 7", ""),
        (StorageError("no answer"), "no answer", ""),
        (StorageError("no room", permanent=True), "no room", "permanent"),
        (ServiceChangedError("it holds another"), "it holds another", "permanent"),
        (DeviceLost("ECC error"), "the device is lost: ECC error", "device_lost"),
        (NoRoom("a window has no room"), "a window has no room", "no_room"),
    ],
)
def test_a_shard_that_was_given_up_carries_its_reason_only(error: Exception, said: str, mark: str) -> None:
    table = SettledMessage.failed(_header(1), "write", error).to_table()
    found = SettledMessage.found_in(table)
    marks = {name: mark == name for name in ("permanent", "device_lost", "no_room")}
    assert found == SettledMessage(_header(1), failed_in="write", error=said, **marks)
    receipt = found.receipt(5.0)
    assert (receipt.shard, receipt.file) == (ShardId(3, 1, False), "a.jsonl")
    assert (receipt.failed_in, receipt.error) == ("write", said)
    assert (receipt.permanent, receipt.device_lost) == (marks["permanent"], marks["device_lost"])
    assert (receipt.found, receipt.rows, receipt.store_errors, receipt.committed) == (False, 0, 1, 5.0)


def test_a_shard_that_was_there_carries_nothing() -> None:
    found = SettledMessage.found_in(SettledMessage(_header(1), found=True).with_store_errors(4).to_table())
    assert found == SettledMessage(ShardHeader(ShardId(3, 1, False), "a.jsonl", 5), found=True)
    receipt = found.receipt(6.0)
    assert (receipt.found, receipt.failed_in, receipt.rows, receipt.store_errors) == (True, "", 0, 5)
