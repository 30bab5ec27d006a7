"""What a replica tells Prometheus, through Ray's metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge, Histogram

from actors.engine.engine import Pass
from actors.serving.replica import Replica
from actors.serving.types import Refusal, Reply

_MILLISECONDS: list[float] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
_SIZES: list[float] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
_TOKENS = [float(64 << i) for i in range(12)]
_CLASS = ("class",)
_ONLINE, _OFFLINE = {"class": "online"}, {"class": "offline"}


class ReplicaMetrics:
    """Counters of one replica: queues and passes by class (online, offline), rows, refusals."""

    def __init__(self, replica: Replica) -> None:
        """Listens to the passes of the replica's engine."""
        self._in_hand = Gauge("spanmill_in_hand", "Online requests and pieces of shards in a replica.", _CLASS)
        self._queued = Histogram(
            "spanmill_queue_ms",
            "Wait of an online request, and of an offline pass, for the device.",
            _MILLISECONDS,
            _CLASS,
        )
        self._windows = Histogram("spanmill_pass_windows", "Windows of a pass.", _SIZES, _CLASS)
        self._tokens = Histogram("spanmill_pass_tokens", "Tokens of a pass, padding included.", _TOKENS, _CLASS)
        self._padding = Counter("spanmill_padding_tokens", "Tokens of padding that were computed.", _CLASS)
        self._seconds = Histogram("spanmill_pass_ms", "Time of a pass.", _MILLISECONDS, _CLASS)
        self._rows = Counter("spanmill_served_rows", "Rows answered or embedded.", _CLASS)
        self._refused = Counter("spanmill_refused", "Online requests refused by a replica.", ("reason",))
        self._replica = replica
        replica.actor.engine.watch(self._passed)

    @contextmanager
    def online(self) -> Iterator[Callable[[Reply | Refusal], None]]:
        """Around one online request; what is yielded takes its outcome."""
        self._in_hand.set(self._replica.in_hand + 1, _ONLINE)
        try:
            yield self._answered
        finally:
            self._in_hand.set(self._replica.in_hand, _ONLINE)

    def offline(self, pieces: int, rows: int = 0) -> None:
        """Takes the pieces of shards that are in hand now, and the rows of one that was finished."""
        self._in_hand.set(pieces, _OFFLINE)
        if rows:
            self._rows.inc(rows, _OFFLINE)

    def _answered(self, reply: Reply | Refusal) -> None:
        if isinstance(reply, Refusal):
            self._refused.inc(1, {"reason": reply.reason})
            return
        self._queued.observe(reply.timing.queue, _ONLINE)
        if reply.tokens:
            self._rows.inc(len(reply.tokens), _ONLINE)

    def _passed(self, one: Pass) -> None:
        tags = _ONLINE if one.online else _OFFLINE
        if not one.online:
            self._queued.observe(one.waited * 1000, tags)
        self._windows.observe(one.size.windows, tags)
        self._tokens.observe(one.size.tokens, tags)
        self._seconds.observe(one.seconds * 1000, tags)
        if padding := one.size.tokens - one.tokens:
            self._padding.inc(padding, tags)
