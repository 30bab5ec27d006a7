"""The columns that a job reads, their names in the input and the types of those it carries through."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.config.job import Columns, Damaged, keeps_rest
from pipelines.corpus.formats.base import ReadOptions
from pipelines.schemas import JobKind

_FEWEST_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class RowSchema:
    """Small enough to travel with every task of the job."""

    kind: JobKind
    """answer needs question and context, embed needs text."""

    columns: Columns
    """Names of the columns in the input."""

    carry: pa.Schema
    """Names and types of the columns that are written through."""

    shard_rows: int
    """Rows of every shard but a unit's last."""

    max_text_bytes: int
    """Longest question, context or text that is answered or embedded."""

    damaged: Damaged = "fail"
    """What becomes of a file that is damaged."""

    mixed: tuple[str, ...] = ()
    """Carried columns in which text stands for other values, too: one more of these is no surprise."""

    @property
    def max_line_bytes(self) -> int:
        """Longest line of a format of lines that is parsed: room for two escaped texts and other columns. Of a longer
        one, of a file without line ends perhaps, no more than this is ever in memory.
        """
        return max(_FEWEST_LINE_BYTES, 16 * self.max_text_bytes)

    @property
    def roles(self) -> Mapping[str, str]:
        """Text columns a row must have: name in the output of `validate` → name in the input."""
        if self.kind == "embed":
            return {"text": self.columns.text}
        return {"question": self.columns.question, "context": self.columns.context}

    @property
    def needed(self) -> tuple[str, ...]:
        """Input columns that are read, each once: id, the text columns, the carried ones."""
        return tuple(dict.fromkeys((self.columns.id, *self.roles.values(), *self.carry.names)))

    def read_options(self, storage: Mapping[str, object]) -> ReadOptions:
        """How a format reads such rows; `storage` are fsspec options of the input."""
        return ReadOptions(self.needed, self.shard_rows, self.max_line_bytes, storage, keeps_rest(self.damaged))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; the types of carried columns as Arrow's own message in base64."""
        return {
            "kind": self.kind,
            "columns": self.columns.model_dump(),
            "carry": base64.b64encode(self.carry.serialize().to_pybytes()).decode(),
            "shard_rows": self.shard_rows,
            "max_text_bytes": self.max_text_bytes,
            "damaged": self.damaged,
            # Plans from before there were any have none.
            **({"mixed": list(self.mixed)} if self.mixed else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RowSchema":
        """The inverse of `to_json`. Raises KeyError, ValueError or ArrowInvalid for anything else."""
        carry = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["carry"])))
        columns = Columns.model_validate(data["columns"])
        sizes = int(data["shard_rows"]), int(data["max_text_bytes"])
        return cls(data["kind"], columns, carry, *sizes, data["damaged"], tuple(data.get("mixed", ())))
