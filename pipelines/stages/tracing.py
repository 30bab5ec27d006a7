"""The spans of a job: one of the job, one of each shard within it, and within these one of each stage.

A shard's stages run in several processes. The read stage gives the shard its span, by a context that travels in the
headers of its messages; the stage that ends the shard exports that span, and every stage its own, each where it ran.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actors.tracing.context import TraceContext
from actors.tracing.environment import tracing_here
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.stages.messages import ShardHeader

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from actors.tracing.tracing import Attributes

_FLUSH_SECONDS = 2.0
_WORKERS_SECONDS = 0.3
"""Workers export a span as soon as it has ended; so long they live after the last one."""


class JobTrace:
    """The span of a job that runs, if it is traced."""

    def __init__(self, span: "Span | None" = None) -> None:
        """Takes the span; without one, nothing is traced."""
        self._span = span

    @property
    def context(self) -> TraceContext | None:
        """What the stages are given; None where nothing is traced."""
        if self._span is None:
            return None
        from actors.tracing.tracing import context_of

        return context_of(self._span)

    def spare_workers(self) -> None:
        """Leaves workers the time to export their last spans, before their cluster ends."""
        if self.context is not None:
            time.sleep(_WORKERS_SECONDS)

    def done(self, rows: int, shards: int) -> None:
        """Notes what came of it: rows that went in, and shards that it committed."""
        if self._span is not None:
            self._span.set_attribute("spanmill.rows", rows)
            self._span.set_attribute("spanmill.shards", shards)


@contextmanager
def traced_job(job: str, kind: str) -> Iterator[JobTrace]:
    """The span of a job, which lasts as long as the block; it is part of the span that the caller is in.

    Args:
        job: its id.
        kind: answer or embed.
    """
    tracing = tracing_here()
    if tracing is None:
        yield JobTrace()
        return
    from actors.tracing.tracing import caller

    try:
        with tracing.span("job", caller(), {"spanmill.job": job, "spanmill.task": kind}) as span:
            yield JobTrace(span)
    finally:
        tracing.flush(_FLUSH_SECONDS)


def new_shard(job: TraceContext | None, began: int) -> tuple[str, int]:
    """What the header of a shard says of its trace: `ShardHeader.trace` and `.began`.

    Args:
        job: the span of the job; None where it is not traced.
        began: nanoseconds of the epoch.
    """
    return ("", 0) if job is None else (str(job.child()), began)


def trace_stage(name: str, header: ShardHeader, began: int, error: Exception | None = None) -> None:
    """Exports the span of a stage that has ended now.

    Args:
        began: nanoseconds of the epoch.
    """
    tracing = tracing_here() if header.trace else None
    if tracing is None:
        return
    kind = "" if error is None else type(error).__name__
    tracing.add(name, TraceContext.from_text(header.trace), began, _shard(header.shard), error=kind)
    tracing.flush_soon()


def trace_shard(job: TraceContext | None, header: ShardHeader, receipt: Receipt) -> None:
    """Exports the span of a shard that is committed now, given up, or handed back untouched.

    Args:
        job: the span of the job, as the stages were given it.
    """
    tracing = tracing_here() if header.trace and job is not None else None
    if tracing is None or job is None:
        return
    total = receipt.stats.total
    attributes = {
        **_shard(header.shard),
        "spanmill.rows": receipt.rows + receipt.quarantined,
        "spanmill.windows": total.windows,
        "spanmill.tokens": total.tokens,
        **({"spanmill.failed_in": receipt.failed_in} if receipt.failed_in else {}),
        **({"spanmill.handed_back": True} if receipt.handed_back else {}),
    }
    error = "shard_failed" if receipt.failed_in else ""
    tracing.add("shard", job, header.began, attributes, error=error, own=TraceContext.from_text(header.trace))
    tracing.flush_soon()


def _shard(shard: ShardId) -> "Attributes":
    return {"spanmill.shard": f"{shard.unit}-{shard.number}"}
