"""An actor of a pool whose node goes: what it has begun is finished, and the rest is handed back."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

_LOG = logging.getLogger("spanmill.node")
_LOOK_SECONDS = 2.0
"""How often the head is asked which nodes go."""
_QUIET_SECONDS = 4.0
"""A process ends when it has had nothing in hand for so long: Ray Data looks for nodes that go about once a second, and
what was sent before must have come, and what was given back must be on its way."""


class Departure:
    """Tells the stage of an actor that its node goes, and ends the process once nothing is in hand.

    Ray then starts the actor on another node as soon as there is room, and nobody waits for this one: a call that is in
    its queue comes back at once, uncomputed.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._lock = threading.Lock()
        self._in_hand = 0
        self._quiet_since = time.monotonic()

    @classmethod
    def watched(cls) -> "Departure | None":
        """One that watches this process' node; None where the process is no actor of Ray's."""
        context: Any = ray.get_runtime_context() if ray.is_initialized() else None
        if context is None or not context.get_actor_id():
            return None
        departure = cls()
        watch = threading.Thread(
            target=departure._watch, args=(context.gcs_address, context.get_node_id()), daemon=True
        )
        watch.start()
        return departure

    @contextmanager
    def working(self) -> Iterator[bool]:
        """Around a call; whether it may begin with its work."""
        with self._lock:
            self._in_hand += 1
            may_begin = not self.begun.is_set()
        try:
            yield may_begin
        finally:
            with self._lock:
                self._in_hand -= 1
                self._quiet_since = time.monotonic()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has been in hand for some seconds."""
        with self._lock:
            return not self._in_hand and time.monotonic() - self._quiet_since >= _QUIET_SECONDS

    def _watch(self, address: str, node: str) -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        gcs: Any = GcsClient(address=address)
        while not _goes(gcs, node):
            time.sleep(_LOOK_SECONDS)
        _LOG.warning("the node goes: this actor hands back what it has not begun")
        self.begun.set()
        with self._lock:
            self._quiet_since = time.monotonic()
        while not self.is_quiet:
            time.sleep(_LOOK_SECONDS / 4)
        # Not an orderly exit, after which Ray would not start the actor again.
        os._exit(1)


def _goes(gcs: Any, node: str) -> bool:
    try:
        return node in gcs.get_draining_nodes()
    except Exception:  # the head is away for a while, or for good; then the node goes with it
        return False
