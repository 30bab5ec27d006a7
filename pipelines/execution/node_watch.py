"""The nodes of a job's cluster: asked before they get work, those that join while the job runs included."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ray.exceptions import RayError

from pipelines.job.job import Job
from pipelines.job.nodes.check import (
    Node,
    NodeFinding,
    ask,
    check_some_left,
    findings,
    living_nodes,
    questions_of,
)
from pipelines.job.nodes.facts import Questions, WantedFile
from pipelines.job.ray_cluster import address_of, cluster_of
from pipelines.output.manifest import MANIFEST_NAME
from pipelines.stages.pending_units import PendingUnit
from pipelines.storage.filesystem import resolve

_LOOK_SECONDS = 5.0
_END_SECONDS = 15.0
"""Longest that the thread is waited for: half a second, or as long as a call to a head that is away takes."""


@dataclass
class NodeWatch:
    """Which nodes may work for a job."""

    questions: Questions
    say: Callable[[str], None]
    """Shows what is wrong with a node."""
    refused: frozenset[str] = frozenset()
    """Ids of those that get no work; changes while the watch runs."""
    _asking: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one thread that asks and judges."""
    _stop: threading.Event = field(default_factory=threading.Event)
    """Set when the job is at its end."""
    _asked: set[str] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)
    _reasons: dict[str, list[NodeFinding]] = field(default_factory=dict)
    """Why each refused node is, by its id."""
    _hosts: dict[str, str] = field(default_factory=dict)
    """Names of the machines that answered, by the id of the node."""

    def begin(self) -> None:
        """Asks all nodes that there are.

        Raises:
            JobError: none of them can do the job.
        """
        nodes = living_nodes()
        self._ask(nodes)
        check_some_left(nodes, self._refusals())

    def check_some_left(self) -> None:
        """Asks the nodes that live once more where all of them are refused: what had failed there may be mended.

        Raises:
            JobError: none of them can do the job, with every reason.
        """
        nodes = living_nodes()
        able = {node.id for node in nodes if node.can_work}
        if able and able <= self.refused:
            self.look_again()
            check_some_left(nodes, self._refusals())

    def look_again(self) -> None:
        """Asks all nodes once more, where shards were lost and nobody could say why: a disk may have filled up.

        Those that are refused too: what they could not reach may answer again.
        """
        with self._asking:
            self._judge([node for node in living_nodes() if node.can_work])

    def refuses(self, host: str) -> bool:
        """Whether a machine gets no work; asks those first that have just joined, and were not asked yet.

        Args:
            host: the machine's name, as a receipt has it.
        """
        self._ask(living_nodes())
        here = {node for node, name in self._hosts.items() if name == host}
        return bool(here) and here <= self.refused

    @contextmanager
    def running(self) -> Iterator[None]:
        """Asks those that join while the block runs."""
        thread = threading.Thread(target=self._look, name="node-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            # Ray crashes where the connection is closed under a call.
            thread.join(_END_SECONDS)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self._ask(living_nodes())
            except (RayError, ConnectionError, RuntimeError):
                continue  # the head is away; the job itself notices where it does not come back

    def _ask(self, nodes: Sequence[Node]) -> None:
        """Asks those of these nodes of which nothing is known."""
        with self._asking:
            new = [node for node in nodes if node.id not in self._asked and node.can_work]
            if new:
                self._judge(new)

    def _judge(self, nodes: Sequence[Node]) -> None:
        asked = ask(nodes, self.questions, stopped=self._stop.is_set)
        if self._stop.is_set():
            return
        found = findings(asked, self.questions)
        for one in asked:
            if one.is_open:
                # What was found before holds, and the next look asks again.
                self._asked.discard(one.node.id)
                continue
            self._asked.add(one.node.id)
            if one.facts is not None:
                self._hosts[one.node.id] = one.facts.host
            self._settle(one.node, [finding for finding in found if finding.refused and finding.node == one.node])
        self.refused = frozenset(self._reasons)
        for finding in found:
            if str(finding) not in self._said:
                self._said.add(str(finding))
                self.say(str(finding))

    def _settle(self, node: Node, reasons: list[NodeFinding]) -> None:
        before = self._reasons.pop(node.id, [])
        if reasons:
            self._reasons[node.id] = reasons
        elif before:
            # Where it comes back, it is to be said again.
            self._said.difference_update(map(str, before))
            self.say(f"node {before[0].name} gets work again from the next round on: what was wrong there is mended")

    def _refusals(self) -> list[NodeFinding]:
        return [finding for reasons in self._reasons.values() for finding in reasons]


def refused_by(watch: NodeWatch | None) -> frozenset[str]:
    """Ids of the nodes that get no work; none where nobody watches."""
    return frozenset() if watch is None else watch.refused


def watch_of(
    job: Job, pending: Sequence[PendingUnit], say: Callable[[str], None], is_bound: bool = True
) -> NodeWatch | None:
    """The watch of a planned job; None on a cluster that the job itself starts, which is this machine as it is.

    Args:
        pending: what is to be read.
        say: shows what is wrong with a node.
        is_bound: whether OUTPUT is the job's already, and nodes have to reach it.
    """
    if address_of(cluster_of(job.config)) == "local":
        return None
    files = [WantedFile("OUTPUT", job.store, job.store.path(MANIFEST_NAME))] if is_bound else []
    if pending:
        first = resolve(pending[0].file.url, job.config.corpus.storage)
        files.append(WantedFile("INPUT", first, first.root))
    return NodeWatch(questions_of(job.config, files), say)
