"""The nodes of a job's cluster: asked before they get work, those that join while the job runs included."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ray.exceptions import RayError

from pipelines.job.job import Job
from pipelines.job.node_check import (
    Node,
    NodeFinding,
    ask,
    check_some_left,
    findings,
    living_nodes,
    questions_of,
    refused_ids,
)
from pipelines.job.node_facts import Questions, WantedFile
from pipelines.job.ray_cluster import address_of, cluster_of
from pipelines.output.manifest import MANIFEST_NAME
from pipelines.stages.pending_units import PendingUnit
from pipelines.storage.filesystem import resolve

_LOOK_SECONDS = 5.0


@dataclass
class NodeWatch:
    """Which nodes may work for a job."""

    questions: Questions
    say: Callable[[str], None]
    """Shows what is wrong with a node."""
    refused: frozenset[str] = frozenset()
    """Ids of those that get no work; grows while the watch runs."""
    _asked: set[str] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Asks all nodes that there are.

        Raises:
            JobError: none of them can do the job.
        """
        nodes = living_nodes()
        check_some_left(nodes, self._ask(nodes))

    def look_again(self) -> None:
        """Asks all nodes once more, where shards were lost and nobody could say why: a disk may have filled up."""
        nodes = [node for node in living_nodes() if node.can_work and node.id not in self.refused]
        self._judge(nodes)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Asks those that join while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._look, args=(stop,), name="node-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _look(self, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_SECONDS):
            try:
                self._ask(living_nodes())
            except (RayError, ConnectionError, RuntimeError):
                continue  # the head is away; the job itself notices where it does not come back

    def _ask(self, nodes: Sequence[Node]) -> list[NodeFinding]:
        new = [node for node in nodes if node.id not in self._asked and node.can_work]
        if not new:
            return []
        self._asked.update(node.id for node in new)
        return self._judge(new)

    def _judge(self, nodes: Sequence[Node]) -> list[NodeFinding]:
        found = findings(ask(nodes, self.questions), self.questions)
        self.refused |= refused_ids(found)
        for finding in found:
            if str(finding) not in self._said:
                self._said.add(str(finding))
                self.say(str(finding))
        return found


def watch_of(job: Job, pending: Sequence[PendingUnit], say: Callable[[str], None]) -> NodeWatch | None:
    """The watch of a bound job; None on a cluster that the job itself starts, which is this machine as it is."""
    if address_of(cluster_of(job.config)) == "local":
        return None
    files = [WantedFile("OUTPUT", job.store, job.store.path(MANIFEST_NAME))]
    if pending:
        first = resolve(pending[0].file.url, job.config.corpus.storage)
        files.append(WantedFile("INPUT", first, first.root))
    return NodeWatch(questions_of(job.config, files), say)
