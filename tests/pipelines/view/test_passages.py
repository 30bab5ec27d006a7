"""Questions and passages of rows: from the output, and from the input that its job had."""

import os
from pathlib import Path
from typing import Any

from pipelines.view.job_output import JobOutput
from pipelines.view.passages import Passage, PassageReader
from pipelines.view.row_tables import RowKey, RowTable, read_columns
from pipelines.view.whole_row import read_row
from tests.pipelines.helpers import jsonl
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output


def _table(output: JobOutput) -> RowTable:
    shards = output.shards()
    return RowTable("rows", read_columns(output, shards), tuple(shards))


def _of_input(output: JobOutput, unit: int, number: int, row: int) -> Passage:
    key = RowKey(unit, number, row)
    values = read_row(output, _table(output), key).values
    return PassageReader(output).of_input(key, values["id"], values)


def test_a_carried_passage_is_taken(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, "corpus.carry=[question, context]", folder=tmp_path)
    (tmp_path / "input.jsonl").unlink()
    values = read_row(output, _table(output), RowKey(0, 0, 0)).values
    found = PassageReader(output).carried(values)
    assert found == Passage("carried", {"question": "Where was Ada born?", "context": "Ada was born in London."})
    assert PassageReader(output).carried({"id": "q0", "question": "Why?"}) is None


def test_a_chunk_has_the_passage_of_its_text(towns: JobOutput) -> None:
    """A chunk's own text is no carried column, and its id is not that of the input."""
    values = {"id": "q4#1", "document_id": "q4", "context": "דנה", "start": 0, "end": 3}
    reader = PassageReader(towns)
    assert reader.carried(values) is None
    assert reader.id_in_input(values) == "q4"
    assert reader.id_in_input({"id": "q4"}) == "q4"
    assert reader.of_input(RowKey(0, 2, 0), "q4", None).texts["context"] == "דנה באה הביתה."


def test_else_it_is_read_from_the_input(towns: JobOutput) -> None:
    found = _of_input(towns, 0, 2, 0)
    assert found == Passage("input", {"question": "מי בא?", "context": "דנה באה הביתה."})
    assert _of_input(towns, 0, 0, 1).texts["context"][2:4] == "Bo"


def test_shards_are_read_once(towns: JobOutput) -> None:
    reader = PassageReader(towns)
    first = reader.of_input(RowKey(0, 0, 0), "q0", None)
    second = reader.of_input(RowKey(0, 0, 1), "q1", None)
    assert (first.texts["context"], second.texts["question"]) == ("Ada was born in London.", "Who ground oats?")
    assert len(reader._kept) == 1


class _EmptiedByOthers(dict[Any, Any]):
    """As where many other threads read shards at the same moment."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.clear()


def test_other_threads_may_have_other_shards_kept(towns: JobOutput) -> None:
    reader = PassageReader(towns, _EmptiedByOthers())
    assert reader.of_input(RowKey(0, 0, 0), "q0", None).texts["context"] == "Ada was born in London."


def test_why_it_is_not_at_hand(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    source = tmp_path / "input.jsonl"
    before = source.stat()
    # Of the same size and time, but with another text, as a disk might leave it.
    source.write_bytes(jsonl(TOWNS).replace(b"Ada was born in London", b"Ada was born in Londen"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _of_input(output, 0, 0, 0) == Passage(
        "missing", {}, "the input has changed since: the answer is not at its place there"
    )
    source.write_bytes(b"{}\n")
    assert "changed since the job was planned" in _of_input(output, 0, 0, 0).why
    source.unlink()
    found = _of_input(output, 0, 0, 0)
    assert (found.source, found.texts) == ("missing", {})
    assert "is gone since the job was planned" in found.why


def test_of_rows_with_one_id_the_one_that_holds_the_answer_is_taken(tmp_path: Path) -> None:
    rows = [{**TOWNS[0], "context": "London is far."}, {**TOWNS[0], "context": "Ada was born in London."}]
    output = write_output(tmp_path / "out", rows, {"q0": ("London", 0.5)}, folder=tmp_path)
    assert _of_input(output, 0, 0, 0).texts["context"] == "London is far."
    assert _of_input(output, 0, 0, 1).texts["context"] == "Ada was born in London."
    found = PassageReader(output).of_input(RowKey(0, 0, 0), "q9", None)
    assert found.why == "the input has no row 'q9' in this piece any more"
