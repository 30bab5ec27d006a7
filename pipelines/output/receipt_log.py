"""Files in OUTPUT with the receipts of all runs of a job, from which reports and counts are made.

Nothing depends on them but figures: a run that is killed loses its last ones, and its shards stay committed.
"""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from pipelines.errors import StorageError
from pipelines.output.encoding import from_parquet, to_parquet
from pipelines.output.parts import list_names
from pipelines.output.receipt import RECEIPT_SCHEMA, Receipt
from pipelines.output.sinks.base import Sink
from pipelines.storage.filesystem import read_bytes, write_atomic

RECEIPTS_FOLDER = "_receipts"

_NAME = re.compile(r"[0-9a-f]{8}-\d{8}T\d{6}-[0-9a-f]{6}-\d{5}\.parquet")

_MOST_HELD = 1000
_LONGEST_SECONDS = 30.0
_THREADS = 16
_LOG = logging.getLogger("spanmill.ledger")


@dataclass
class ReceiptLog:
    """Collects the receipts of one run, and writes them now and then."""

    parts: Sink
    run: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}")
    """Name of the run: when it began, UTC, and something random."""
    _held: list[Receipt] = field(default_factory=list)
    _refused: int = 0
    """Receipts that are held since the store refused them."""
    _written: int = 0
    _last: float = field(default_factory=time.monotonic)

    def add(self, receipt: Receipt) -> None:
        """Keeps a receipt."""
        self._held.append(receipt)
        if len(self._held) - self._refused >= _MOST_HELD or time.monotonic() - self._last >= _LONGEST_SECONDS:
            self.write()

    def write(self) -> None:
        """Writes what is held; a store that refuses costs figures, and not the job."""
        if not self._held:
            return
        name = f"{RECEIPTS_FOLDER}/{self.parts.job8}-{self.run}-{self._written:05d}.parquet"
        data = to_parquet(Receipt.to_table(self._held), {"job": self.parts.job8, "run": self.run})
        try:
            write_atomic(self.parts.store.fs, self.parts.store.path(name), data)
        except StorageError as error:
            _LOG.warning("receipts not written", extra={"job": self.parts.job8, "file": name, "error": str(error)})
            self._refused = len(self._held)
        else:
            self._held.clear()
            self._refused = 0
            self._written += 1
        # After the write: one that was tried for a minute must not be tried again with the next receipt.
        self._last = time.monotonic()


def is_receipt(name: str) -> bool:
    """True for the name of a file of receipts, of whatever job."""
    return _NAME.fullmatch(name) is not None


def read_ledger(parts: Sink) -> pa.Table:
    """Every receipt of a job as RECEIPT_SCHEMA with `run` (string), run by run in the order they were written.

    Raises:
        StorageError: one cannot be read.
    """
    names = sorted(name for name in list_names(parts.store, RECEIPTS_FOLDER) if name.startswith(f"{parts.job8}-"))

    def read(name: str) -> pa.Table:
        data = read_bytes(parts.store.fs, parts.store.path(f"{RECEIPTS_FOLDER}/{name}"))
        table = from_parquet(data)
        run = name.removeprefix(f"{parts.job8}-").rpartition("-")[0]
        return table.append_column("run", pa.array([run] * len(table), pa.string()))

    with ThreadPoolExecutor(_THREADS) as threads:
        tables: Sequence[pa.Table] = list(threads.map(read, names))
    schema = RECEIPT_SCHEMA.append(pa.field("run", pa.string()))
    # Runs of an older version lack the fields that came later; these are null.
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
