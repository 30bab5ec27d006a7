"""A model actor on a node with other versions than the driver's: one that joined after the job had asked all others."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from actors.version import version_differences, versions_of

_WAIT_SECONDS = 90.0
"""Until then the driver has asked the node, and refuses it; an actor that waits holds nobody up meanwhile."""
_HOLD_SECONDS = 5.0
"""Ray Data gives most work to the actor that is done first, so one that only hands back must be slow."""


class UnfitNode(Exception):
    """An actor was given a node that may not compute."""


@dataclass(frozen=True)
class NodeGuard:
    """Keeps shards from a node whose packages differ; the driver says so by name, and later passes avoid the node."""

    versions: Mapping[str, str]
    """That the driver planned the job with, by package."""

    def admits(self, is_restarted: bool) -> bool:
        """Whether this node may compute.

        An actor that is started for the first time on a node that may not never gets ready, so it gets no work. It
        waits for a while, since its end is that of the pass: that may be over by then, and the driver has refused the
        node before the next one. An actor that Ray has started anew has calls in its queue, which must not wait; it is
        told False.

        Raises:
            UnfitNode: the pass is still there after the wait.
        """
        differences = version_differences(self.versions, versions_of(self.versions))
        if differences and not is_restarted:
            time.sleep(_WAIT_SECONDS)
            raise UnfitNode(
                f"node {socket.gethostname()} has {', '.join(map(str, differences))}, and was given an actor before it "
                "was asked; the next round leaves it out"
            )
        return not differences

    @staticmethod
    def hold() -> None:
        """Waits before a shard is handed back."""
        time.sleep(_HOLD_SECONDS)
