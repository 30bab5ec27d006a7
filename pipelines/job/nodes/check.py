"""Which nodes of a cluster a job can use: each is asked once, by a tiny task, before it gets work."""

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.backends.base import find_runtime
from actors.errors import last_line
from actors.models.hub import from_anywhere, is_shipped
from actors.parameters import ModelParameters
from actors.registry import AUTO
from actors.version import RESULT_PACKAGES, version_differences, versions_of
from pipelines.config.job import OfflineConfig
from pipelines.errors import JobError
from pipelines.job.nodes.facts import Disk, NodeFacts, Questions, WantedFile, look
from pipelines.storage.filesystem import resolve

_ANSWER_SECONDS = 60.0
"""Longest that nodes are waited for: what they are asked takes a worker, which some seconds start, and some calls."""
_WAIT_SECONDS = 0.5
_MOST_SKEW = 60.0
"""Seconds that clocks may differ by. S3 refuses requests past 900."""
_LEAST_FREE, _LEAST_SHARE = 1 << 30, 0.05
"""Bytes, and share of a node's disk, below which a warning says so: models are unpacked there, and Ray spills shards
there only while a twentieth of it is free."""
_FEEDER_PACKAGES = ("tokenizers", "pyarrow")
"""What matters where a job only feeds a service, whose replicas look at the other packages of their nodes."""
_LISTED_STORES = ("s3://", "s3a://", "gs://", "gcs://", "abfs://", "abfss://", "az://")
"""Those that tell whether a folder is there. Of other servers only files can be asked for."""
_DIED = (
    "its worker died before it answered: {}. See `ray status`, and whether there is room on its disk and in its memory"
)
_MAKE_ROOM = "Make room there, or start the node with --temp-dir, TMPDIR or RAY_TMPDIR on another disk"
_SAME_EVERYWHERE = "Use the same image or the same constraints.txt on all nodes, and start the node again"


@dataclass(frozen=True)
class Node:
    """A living node of the cluster."""

    id: str
    """Ray's, in hex."""
    address: str
    resources: Mapping[str, float]
    """As Ray names them: CPU, GPU."""

    @property
    def can_work(self) -> bool:
        """Whether anything of a job comes to lie there; a head without CPUs gets nothing."""
        return self.resources.get("CPU", 0.0) > 0 or self.resources.get("GPU", 0.0) > 0


@dataclass(frozen=True)
class NodeFinding:
    """Something about a node that somebody has to know."""

    node: Node
    name: str
    """Of the node, for people."""
    text: str
    """What it is, and the mend."""
    refused: bool = False
    """Whether the node gets no work for it."""

    def __str__(self) -> str:
        return f"node {self.name}{' gets no work' if self.refused else ''}: {self.text}"


@dataclass(frozen=True)
class Asked:
    """What came of asking a node."""

    node: Node
    sent: float
    """When it was asked, seconds of the epoch by the driver's clock."""
    received: float
    """When its answer was there."""
    facts: NodeFacts | None = None
    """None where none came."""
    error: str = ""
    """Why the node cannot answer; empty where it was too slow, has left, or only the worker there died."""
    mishap: str = ""
    """What befell the worker, which says nothing of the node: it died, or was ended for want of memory."""

    @property
    def is_open(self) -> bool:
        """Whether nothing is known of the node yet, so that it has to be asked again."""
        return self.facts is None and not self.error

    @property
    def skew(self) -> float:
        """Seconds by which the node's clock is ahead of the driver's, at the least; 0 where they may agree."""
        if self.facts is None:
            return 0.0
        clock = self.facts.clock
        return clock - self.received if clock > self.received else min(clock - self.sent, 0.0)


def living_nodes() -> list[Node]:
    """The nodes of the connected cluster that live."""
    nodes: Any = ray.nodes  # has no annotations
    return [Node(one["NodeID"], one["NodeManagerAddress"], one["Resources"]) for one in nodes() if one["Alive"]]


def questions_of(config: OfflineConfig, files: Sequence[WantedFile] = ()) -> Questions:
    """What the nodes are asked that a job is to run on."""
    if config.pool.kind == "serve":
        return Questions(_FEEDER_PACKAGES, None, tuple(files))
    return model_questions(config.model, files)


def model_questions(model: ModelParameters, files: Sequence[WantedFile] = ()) -> Questions:
    """What nodes are asked that are to load a model."""
    name = from_anywhere(model.name)
    is_folder = os.path.isabs(name) and not is_shipped(name)
    runtime = () if model.backend == AUTO else find_runtime(model.backend).packages
    if name.startswith(_LISTED_STORES):
        store = resolve(name, model.storage)
        files = (*files, WantedFile("the model", store, store.root))
    return Questions(tuple(dict.fromkeys((*RESULT_PACKAGES, *runtime))), name if is_folder else None, tuple(files))


def ask(
    nodes: Sequence[Node],
    questions: Questions,
    seconds: float = _ANSWER_SECONDS,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Asked]:
    """Asks nodes, all at once; takes as long as the slowest of them, and no longer than `seconds`.

    Args:
        stopped: whether nobody wants to know any more; asked twice a second.
    """
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_look_there)
    sent = time.time()
    references = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        references.append(task.options(scheduling_strategy=there).remote(questions))
    ends = time.monotonic() + seconds
    return [_answer(node, reference, sent, ends, stopped) for node, reference in zip(nodes, references, strict=True)]


def findings(asked: Sequence[Asked], questions: Questions) -> list[NodeFinding]:
    """What is wrong with these nodes, by what they answered."""
    wanted = versions_of(questions.packages)
    return [finding for one in asked for finding in _findings_of(one, wanted)]


def check_some_left(nodes: Sequence[Node], found: Sequence[NodeFinding]) -> None:
    """Raises JobError, with every reason, where all nodes that could work are refused."""
    refused = refused_ids(found)
    able = [node for node in nodes if node.can_work]
    if able and all(node.id in refused for node in able):
        reasons = "".join(f"\n  {finding}" for finding in found if finding.refused)
        raise JobError(f"no node of the cluster can do this job:{reasons}")


def refused_ids(found: Sequence[NodeFinding]) -> frozenset[str]:
    """Ids of the nodes that get no work."""
    return frozenset(finding.node.id for finding in found if finding.refused)


def away_from(refused: frozenset[str]) -> dict[str, Any]:
    """Options of a Ray task or actor, or of `map_batches`, with which it comes to lie on none of these nodes."""
    return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(refused))})"}} if refused else {}


def _look_there(questions: Questions) -> NodeFacts:
    context: Any = ray.get_runtime_context()
    return look(questions, (context.get_temp_dir(),))


def _answer(node: Node, reference: Any, sent: float, ends: float, stopped: Callable[[], bool]) -> Asked:
    try:
        while not (facts := _wait(reference, ends)):
            if stopped() or time.monotonic() >= ends:
                ray.cancel(reference, force=True)
                return Asked(node, sent, time.time())
    except RayError as error:
        if node.id not in {one.id for one in living_nodes()}:
            return Asked(node, sent, time.time())
        said = f"{type(error).__name__}: {last_line(error)}"
        if isinstance(error, RayTaskError | RuntimeEnvSetupError):
            return Asked(node, sent, time.time(), error=said)
        return Asked(node, sent, time.time(), mishap=said)
    return Asked(node, sent, time.time(), facts)


def _wait(reference: Any, ends: float) -> NodeFacts | None:
    """What a node has answered; None where it has not yet."""
    try:
        facts: NodeFacts = ray.get(reference, timeout=min(max(ends - time.monotonic(), 0.01), _WAIT_SECONDS))
    except GetTimeoutError:
        return None
    return facts


def _findings_of(asked: Asked, wanted: Mapping[str, str]) -> Iterator[NodeFinding]:
    node, facts = asked.node, asked.facts
    if facts is None:
        if asked.error:
            yield NodeFinding(node, node.address, _cannot_run(asked.error), refused=True)
        elif asked.mishap:
            yield NodeFinding(node, node.address, _DIED.format(asked.mishap.rstrip(".")))
        else:
            yield NodeFinding(node, node.address, "it did not answer in time, or has left; see `ray status`")
        return
    name = f"{facts.host} ({node.address})"
    differences = version_differences(wanted, facts.versions)
    if differences:
        listed, commands = ", ".join(map(str, differences)), " ".join(one.mend for one in differences)
        yield NodeFinding(node, name, f"it has {listed}. {_SAME_EVERYWHERE}, or there: {commands}", refused=True)
    mends: dict[str, list[str]] = {}
    for what, why in facts.unreachable.items():
        mends.setdefault(_reach_mend(what), []).append(f"{what}: {why}")
    for mend, whats in mends.items():
        yield NodeFinding(node, name, f"it cannot read {'; '.join(whats)}. {mend}", refused=True)
    if abs(asked.skew) > _MOST_SKEW:
        yield NodeFinding(node, name, _skewed(asked.skew))
    for disk in facts.disks:
        if disk.free < max(_LEAST_FREE, _LEAST_SHARE * disk.total):
            yield NodeFinding(node, name, _full(disk))


def _cannot_run(error: str) -> str:
    if os.strerror(errno.ENOSPC) in error:
        return f"its disk is full: {error}. {_MAKE_ROOM}"
    return f"it cannot run this code: {error}. Install there what pyproject.toml names, or use the same image"


def _reach_mend(what: str) -> str:
    if "://" not in what:
        if what.startswith("the model"):
            return "Copy the folder there, to the same path, or name a model that all nodes find: a hub id or a URL"
        return "A local folder must be shared by all nodes; else name a store: s3://, gs://, abfs://"
    return "Check the route, the firewall and the credentials of that node (environment or role), then run this again"


def _skewed(seconds: float) -> str:
    side = "ahead of" if seconds > 0 else "behind"
    return (
        f"its clock is {abs(seconds):,.0f} s {side} the driver's; past 900 s S3 refuses requests "
        "(RequestTimeTooSkewed), and times in the report are wrong. Run NTP on all nodes (`timedatectl set-ntp true`)"
    )


def _full(disk: Disk) -> str:
    mib = 1 << 20
    return (
        f"its disk is nearly full: {disk.free / mib:,.0f} of {disk.total / mib:,.0f} MiB left in {disk.folder}, where "
        f"Ray spills shards and models are unpacked. {_MAKE_ROOM}"
    )
