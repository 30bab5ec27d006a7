"""The log of a job: records with fields, appended to a file as lines of JSON.

Loggers are named `spanmill.*`. The terminal shows the progress instead, and warnings that the progress leaves out.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pythonjsonlogger.orjson import OrjsonFormatter

from pipelines.errors import StorageError
from pipelines.output.receipt import Receipt
from pipelines.rows.misfits import mend

LOGGER = logging.getLogger("spanmill.job")
"""Logger for the events of a job. The progress display shows them on the terminal, so they never go to stderr."""


@dataclass(frozen=True)
class JsonLog:
    """Logs the receipts and the events of a job."""

    job8: str

    def add(self, receipt: Receipt) -> None:
        """Logs one receipt: failures as warnings, and values that are not written as they are."""
        for (column, outcome), rows in receipt.misfits.items():
            told = {"column": column, "written": outcome, "rows": rows, "mend": mend(column, outcome)}
            self.log("values not written as they are", logging.WARNING, file=receipt.file, **told)
        level = logging.WARNING if receipt.failed_in else logging.INFO
        if not LOGGER.isEnabledFor(level):
            return
        fields: dict[str, object] = {
            "shard": f"{receipt.shard.unit}-{receipt.shard.number}",
            "file": receipt.file,
            "store_errors": receipt.store_errors,
        }
        if receipt.failed_in:
            self.log("shard failed", level, stage=receipt.failed_in, error=receipt.error, **fields)
        elif receipt.found:
            self.log("shard found committed", level, **fields)
        else:
            total = receipt.stats.total
            chunks = {} if receipt.chunks is None else {"written_chunks": receipt.chunks}
            self.log(
                "shard committed",
                level,
                **fields,
                input_rows=receipt.rows + receipt.quarantined,
                written_rows=receipt.rows,
                **chunks,
                answered=receipt.answered,
                quarantined=receipt.quarantined,
                bytes=receipt.bytes,
                node=receipt.node,
                seconds=round(receipt.seconds, 3),
                passes=total.passes,
                tokens=total.tokens,
            )

    def log(self, event: str, level: int = logging.INFO, **fields: object) -> None:
        """Logs an event of the job; field names that `logging` uses itself (name, args, ...) are not possible."""
        LOGGER.log(level, event, extra={"job": self.job8, **fields})


@contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """While the block runs, appends every record of Spanmill to a file, and shows warnings on stderr.

    A line of the file is a JSON object: time (ISO 8601, UTC), level, logger, event, and the record's fields.

    Raises:
        StorageError: the file cannot be written.
    """
    logger = logging.getLogger("spanmill")
    handlers: list[logging.Handler] = [_Stderr()]
    level = logger.level
    if path is not None:
        handlers.append(_json_lines(path))
        logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


class _Stderr(logging.Handler):
    """Writes to the current `sys.stderr`, which the live progress line replaces while it is shown."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(lambda record: record.name != LOGGER.name)

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


class _JsonLines(OrjsonFormatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _json_lines(path: Path) -> logging.Handler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{path}: the log cannot be written: {error}. Name another file, or mend its folder."
        ) from error
    names = {"asctime": "time", "levelname": "level", "name": "logger", "message": "event"}
    handler.setFormatter(_JsonLines("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    return handler
