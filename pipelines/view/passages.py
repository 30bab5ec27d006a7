"""The question and the passage of a row: carried in the output, or read from the input that the manifest names."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow.compute as pc

from actors.errors import first_line
from pipelines.errors import SpanmillError
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import ValidShard, validate
from pipelines.storage.url import redact
from pipelines.view.job_output import JobOutput
from pipelines.view.row_tables import RowKey

_SHARDS_KEPT = 4
"""Rows that are looked at one after the other are mostly of one shard."""
_DOCUMENT_ID = "document_id"
"""Column of rows that are chunks of a text: the id of that text in the input."""


@dataclass(frozen=True)
class Passage:
    """The texts of a row, or why they are not at hand."""

    source: Literal["carried", "input", "missing"]
    texts: Mapping[str, str]
    """question and context, or text; as far as they are known."""
    why: str = ""
    """For people, where the source is missing."""


@dataclass(frozen=True)
class PassageReader:
    """Finds the texts of rows of one output."""

    output: JobOutput
    _kept: dict[tuple[int, int], ValidShard | None] = field(default_factory=dict, repr=False)
    _keeping: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Requests come in several threads."""

    def carried(self, values: Mapping[str, Any]) -> Passage | None:
        """Of a row's values, where the output carries the passage; else None."""
        layout = self.output.plan.layout
        names = {role: name for role, name in layout.roles.items() if name in layout.carry.names}
        texts = {role: values[name] for role, name in names.items() if isinstance(values.get(name), str)}
        main = "text" if layout.kind == "embed" else "context"
        return Passage("carried", texts) if main in texts else None

    def id_in_input(self, values: Mapping[str, Any]) -> str:
        """The id that a row, by its values, has in the input: its own, or that of the text which it is a chunk of."""
        of_text = None if _DOCUMENT_ID in self.output.plan.layout.carry.names else values.get(_DOCUMENT_ID)
        return str(of_text or values["id"])

    def of_input(self, key: RowKey, id: str, answer: Mapping[str, Any] | None) -> Passage:
        """Of the row of the input with this id; reads the row's shard as the job did.

        Args:
            answer: answer, start and end of the row, which have to be at their place: of several rows with one id the
                first where they are is taken. None where there is no answer to check by.
        """
        try:
            shard = self._read(key.unit, key.number)
        except (SpanmillError, OSError) as error:
            # What follows says how to run the job again.
            why = redact(first_line(error)).partition(". ")[0]
            return Passage("missing", {}, f"the input cannot be read: {why}")
        if shard is None:
            return Passage("missing", {}, "the input has no such piece any more")
        roles = self.output.plan.layout.roles
        same_id = shard.rows.filter(pc.equal(shard.rows["id"], id)).select(list(roles)).to_pylist()
        fitting = [texts for texts in same_id if _fits(texts, answer)]
        if fitting:
            return Passage("input", fitting[0])
        if same_id:
            return Passage("missing", {}, "the input has changed since: the answer is not at its place there")
        return Passage("missing", {}, f"the input has no row {id!r} in this piece any more")

    def _read(self, unit: int, number: int) -> ValidShard | None:
        with self._keeping:
            if (unit, number) in self._kept:
                return self._kept[unit, number]
        shard = self._shard(unit, number)
        with self._keeping:
            while len(self._kept) >= _SHARDS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[unit, number] = shard
        return shard

    def _shard(self, unit: int, number: int) -> ValidShard | None:
        plan = self.output.plan
        file = plan.file_of(plan.units[unit])
        # As if all others were still to be left out: formats of row groups then read no others.
        others = self.output.parts.committed().numbers(unit) - {number}
        for raw in read_unit(file, plan.units[unit], plan.layout, self.output.input_storage, others):
            if raw.number == number:
                return validate(raw, file.name, plan.layout)
        return None


def _fits(texts: Mapping[str, str], answer: Mapping[str, Any] | None) -> bool:
    if answer is None or answer.get("answer") is None or "context" not in texts:
        return True
    start, end = int(answer["start"]), int(answer["end"])
    return texts["context"][start:end] == str(answer["answer"])
