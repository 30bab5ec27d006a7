"""What a replica tells Prometheus, through Ray's metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge, Histogram

from actors.engine import Pass
from actors.serving.replica import Replica
from actors.serving.requests import Refusal, Reply

_MILLISECONDS: list[float] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
_SIZES: list[float] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
_TOKENS = [float(64 << i) for i in range(12)]
_CLASS = ("class",)


class ReplicaMetrics:
    """Counters of one replica: queues and passes by class (online, offline), rows, refusals."""

    def __init__(self, replica: Replica) -> None:
        """Listens to the passes of the replica's engine."""
        self._queue = Gauge("spanmill_online_in_hand", "Online requests in a replica.")
        self._queued = Histogram("spanmill_queue_ms", "Time to the first pass of online requests.", _MILLISECONDS)
        self._windows = Histogram("spanmill_pass_windows", "Windows of a pass.", _SIZES, _CLASS)
        self._tokens = Histogram("spanmill_pass_tokens", "Tokens of a pass, padding included.", _TOKENS, _CLASS)
        self._padding = Counter("spanmill_padding_tokens", "Tokens of padding that were computed.", _CLASS)
        self._seconds = Histogram("spanmill_pass_ms", "Time of a pass.", _MILLISECONDS, _CLASS)
        self._rows = Counter("spanmill_rows", "Rows answered or embedded.", _CLASS)
        self._refused = Counter("spanmill_refused", "Online requests refused by a replica.", ("reason",))
        self._replica = replica
        replica.actor.engine.watch(self._passed)

    @contextmanager
    def online(self) -> Iterator[Callable[[Reply | Refusal], None]]:
        """Around one online request; what is yielded takes its outcome."""
        self._queue.set(self._replica.inside + 1)
        try:
            yield self._answered
        finally:
            self._queue.set(self._replica.inside)

    def offline(self, rows: int) -> None:
        """Counts a piece of a shard."""
        self._rows.inc(max(rows, 1), {"class": "offline"})

    def _answered(self, reply: Reply | Refusal) -> None:
        if isinstance(reply, Refusal):
            self._refused.inc(1, {"reason": reply.reason})
            return
        self._queued.observe(reply.timing.queue)
        self._rows.inc(len(reply.tokens), {"class": "online"})

    def _passed(self, one: Pass) -> None:
        tags = {"class": "online" if one.online else "offline"}
        self._windows.observe(one.size.windows, tags)
        self._tokens.observe(one.size.tokens, tags)
        self._seconds.observe(one.seconds * 1000, tags)
        if padding := one.size.tokens - one.tokens:
            self._padding.inc(padding, tags)
