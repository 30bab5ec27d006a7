"""A model actor on a node with other versions than the driver's: one that joined after the job had asked all others."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from actors.version import version_differences, versions_of

_HOLD_SECONDS = 5.0
"""Ray Data gives most work to the actor that is done first, so one that only hands back must be slow."""


@dataclass(frozen=True)
class NodeGuard:
    """Keeps shards from a node whose packages differ; the driver says so by name, and later passes avoid the node."""

    versions: Mapping[str, str]
    """That the driver planned the job with, by package."""

    def admits(self, is_restarted: bool) -> bool:
        """Whether this node may compute.

        An actor that is started for the first time on a node that may not never gets ready, so it gets no work: one
        that failed would end the pass. One that Ray has started anew has calls in its queue, which must not wait for
        ever; it is told False.
        """
        if not version_differences(self.versions, versions_of(self.versions)):
            return True
        if not is_restarted:
            threading.Event().wait()
        return False

    @staticmethod
    def hold() -> None:
        """Waits before a shard is handed back."""
        time.sleep(_HOLD_SECONDS)
