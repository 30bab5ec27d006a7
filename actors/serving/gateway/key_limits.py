"""The limits of one API key in one gateway: requests in hand, and tokens a minute."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from actors.engine.pace import Pace
from actors.serving.key_parameters import TenantParameters
from actors.serving.types import Refusal, Refused

_MINUTE = 60.0
_TOKENS_PER_CHARACTER = 0.3
"""Of English in the tokens of BERT, until a key's own texts are known."""
_BELIEVED_CHARACTERS = 1000.0


@dataclass(frozen=True)
class KeyLimits:
    """What one gateway allows one key."""

    requests_in_hand: int | None = None
    tokens_per_minute: float | None = None

    @classmethod
    def of(cls, tenant: TenantParameters, gateways: int) -> "KeyLimits":
        """The part of one of several gateways, between which requests are spread evenly."""
        requests, tokens = tenant.requests_in_hand, tenant.tokens_per_minute
        return cls(
            requests_in_hand=None if requests is None else math.ceil(requests / gateways),
            tokens_per_minute=None if tokens is None else tokens / gateways,
        )


class TokenBucket:
    """Tokens that may be used: those of a minute at most, and filled up as time goes by.

    Whoever comes while anything is left is let in, whatever it takes, so that a request of more than is left, or than
    the bucket holds, is not refused for ever. The bucket may then be in debt, and nobody is let in until it is paid.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts full; the clock is in seconds."""
        self._per_minute = per_minute
        self._clock = clock
        self._left = per_minute
        self._seen = clock()

    def seconds_to_wait(self) -> float:
        """Seconds until something is left; 0 where it is."""
        self._fill()
        return 0.0 if self._left > 0 else max(-self._left, 1.0) / self._per_minute * _MINUTE

    def take(self, tokens: float) -> None:
        """Takes tokens, whether so many are left or not; a negative number gives back."""
        self._fill()
        self._left = min(self._left - tokens, self._per_minute)

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._left + (now - self._seen) / _MINUTE * self._per_minute, self._per_minute)
        self._seen = now


class KeyUse:
    """An API key as a gateway knows it: whose it is, and what it has used."""

    def __init__(
        self, tenant: str, limits: KeyLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes the limits, None for none, and a clock in seconds."""
        self.tenant = tenant
        self._limits = limits or KeyLimits()
        self._in_hand = 0
        tokens = self._limits.tokens_per_minute
        self._bucket = None if tokens is None else TokenBucket(tokens, clock)
        self._rate = Pace(_TOKENS_PER_CHARACTER, _BELIEVED_CHARACTERS)

    @contextmanager
    def request(self, characters: int) -> Iterator[Callable[[int], None]]:
        """Counts a request of so many characters as in hand; call what it yields with the tokens that were computed.

        What its texts have in tokens is known when they were tokenised. Before, it is estimated, and taken from the
        bucket, so that many requests at once do not all pass while it is full; afterwards the estimate is corrected.
        A request that the service refused costs nothing, but one does that was given up by its client or came too late:
        it may have been computed.

        Raises:
            Refused: the key has used up one of its limits.
        """
        self._check()
        estimate = self._rate.per_unit * characters
        self._in_hand += 1
        self._take(estimate)

        def correct(tokens: int) -> None:
            self._rate.observe(characters, tokens)
            self._take(tokens - estimate)

        try:
            yield correct
        except Refused as refused:
            if refused.refusal.reason != "deadline":
                self._take(-estimate)
            raise
        finally:
            self._in_hand -= 1

    def _check(self) -> None:
        most = self._limits.requests_in_hand
        if most is not None and self._in_hand >= most:
            raise Refused(
                Refusal(
                    429,
                    "requests_in_hand",
                    f"this key has {self._in_hand} requests in hand, as many as it may; wait for one of them",
                )
            )
        if self._bucket is not None and (seconds := self._bucket.seconds_to_wait()):
            wait = math.ceil(seconds)
            raise Refused(
                Refusal(
                    429,
                    "tokens_per_minute",
                    f"this key has used up its tokens of a minute; wait {wait} s",
                    retry_after=wait,
                )
            )

    def _take(self, tokens: float) -> None:
        if self._bucket is not None:
            self._bucket.take(tokens)
