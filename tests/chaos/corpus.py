"""What the jobs read, and what the bare engine answers to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actors.parameters import QAParameters
from tests.pipelines.helpers import compressed, jsonl
from tests.pipelines.jobs import bare_engine, mixed_rows

FILES = ("a.parquet", "b.jsonl", "c.jsonl.gz")
_ROW_GROUPS = 4


@dataclass(frozen=True)
class Corpus:
    """Rows of the sample corpus in three files, with ids of their own in each."""

    folder: Path
    by_file: Mapping[str, Sequence[dict[str, Any]]]
    """The rows of the output that each file stands for, in order."""

    @classmethod
    def make(cls, folder: Path, model: Path, rows: int) -> "Corpus":
        """Writes so many rows into each file, and asks the engine."""
        folder.mkdir()
        sample = mixed_rows(rows)
        answers = [one["answers"][0] for one in bare_engine(model, sample, QAParameters())]
        by_file = {}
        for name in FILES:
            named = [{**row, "id": f"{name[0]}-{row['id']}"} for row in sample]
            _write(folder / name, named)
            by_file[name] = [{"id": row["id"], **answer} for row, answer in zip(named, answers, strict=True)]
        return cls(folder, by_file)

    def expected(self, files: int) -> list[dict[str, Any]]:
        """The rows of the output of a job over the first so many files."""
        return [row for name in FILES[:files] for row in self.by_file[name]]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=-(-len(rows) // _ROW_GROUPS))
    else:
        path.write_bytes(compressed(jsonl(rows), "gzip" if path.suffix == ".gz" else None))
