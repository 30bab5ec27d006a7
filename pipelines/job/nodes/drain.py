"""Draining a node that is to go: Ray gives it nothing more, and ends it once what it has is finished or handed back."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray._private import services
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]
from ray.exceptions import RayError

from actors.errors import first_line
from pipelines.errors import ConfigError, JobError
from pipelines.job.cluster_check import check_answers

_LOOK_SECONDS = 0.5
_SAY_EVERY_SECONDS = 10.0
_CALL_SECONDS = 10.0
_NODE_FLAG = b"--node_id="
_NO_ADDRESS = "--address: {} names no cluster; name HOST:PORT of its head, such as 10.0.0.1:6379"


@dataclass(frozen=True)
class LivingNode:
    """A node as the cluster's head knows it."""

    id: str
    """In hex."""
    address: str
    is_head: bool


@dataclass(frozen=True)
class Drained:
    """How the draining of a node ended."""

    node: LivingNode
    seconds: float
    in_time: bool
    """Whether nothing ran there any more when the time was over; Ray has then ended the node by itself."""


def drain(
    address: str | None,
    seconds: float,
    say: Callable[[str], None],
    node_id: str | None = None,
    below: int | None = None,
) -> Drained:
    """Tells the cluster that a node goes, and waits until nothing runs there any more, or the time is over.

    Ray ends the node as soon as it has no task, no actor, and no object that anybody still wants.

    Args:
        address: HOST:PORT of the cluster; None is that of this machine's node.
        seconds: until the node is switched off.
        say: shows a line.
        node_id: which node, in hex; None takes the only one of this machine.
        below: take the one that this process has started.

    Raises:
        ConfigError: the address is none, there is no such node here, or several, or it is the head.
        JobError: the cluster does not answer, or refuses to let the node go.
    """
    gcs = _gcs(address)
    with _answering():
        nodes = living(gcs)
    node = _chosen(nodes, node_id, nodes_below(below) if below is not None else None)
    if node.is_head:
        raise ConfigError(
            f"node {node.address} is the head, without which there is no cluster; stop what runs there instead"
        )
    began = time.monotonic()
    deadline = int((time.time() + seconds) * 1000)
    reason = DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
    with _answering():
        accepted, why = gcs.drain_node(node.id, reason, "spanmill drain", deadline)
    if not accepted:
        raise JobError(f"the cluster does not let node {node.address} go: {why}")
    say(f"node {node.address} gets no more work; what it has is finished or handed back, for at most {seconds:g} s ...")
    said = time.monotonic()
    while _lives(gcs, node):
        spent = time.monotonic() - began
        if spent >= seconds:
            return Drained(node, spent, in_time=False)
        if time.monotonic() - said >= _SAY_EVERY_SECONDS:
            said = time.monotonic()
            say(f"something still runs there, or is wanted from there; {seconds - spent:.0f} s are left")
        time.sleep(min(_LOOK_SECONDS, max(seconds - spent, 0.01)))
    return Drained(node, time.monotonic() - began, in_time=True)


@contextmanager
def _answering() -> Iterator[None]:
    """Makes what goes wrong in a call to the head a JobError."""
    try:
        yield
    except (RayError, OSError) as error:
        raise JobError(f"the cluster's head does not answer: {type(error).__name__}: {first_line(error)}") from error


def _lives(gcs: Any, node: LivingNode) -> bool:
    try:
        return any(one.id == node.id for one in living(gcs))
    except RayError:
        # The head is away: with fault tolerance it comes back, and the node goes on meanwhile.
        return True


def living(gcs: Any) -> list[LivingNode]:
    """The nodes of a cluster that live."""
    found = gcs.get_all_node_info(timeout=_CALL_SECONDS).items()
    alive = GcsNodeInfo.GcsNodeState.ALIVE
    return [LivingNode(id.hex(), one.node_manager_address, one.is_head_node) for id, one in found if one.state == alive]


def nodes_below(pid: int) -> frozenset[str]:
    """Ids of the Ray nodes whose process was started by this one, or by one below it."""
    parents, nodes = dict[int, int](), dict[int, str]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # Behind the name, which may hold anything, blanks and brackets too.
            parents[int(folder.name)] = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
            flags = [word for word in (folder / "cmdline").read_bytes().split(b"\0") if word.startswith(_NODE_FLAG)]
            if flags:
                nodes[int(folder.name)] = flags[0].removeprefix(_NODE_FLAG).decode()
    return frozenset(node for one, node in nodes.items() if _is_below(one, pid, parents))


def _is_below(pid: int, above: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != above:
        pid = parents[pid]
    return pid == above


def _gcs(address: str | None) -> Any:
    try:
        place = services.canonicalize_bootstrap_address(address or "auto")
    except ConnectionError:
        place = None
    except (ValueError, OSError) as error:
        raise ConfigError(_NO_ADDRESS.format(address or "RAY_ADDRESS")) from error
    if place is None:
        raise ConfigError("no Ray runs on this machine; name the cluster with --address HOST:PORT or RAY_ADDRESS")
    try:
        check_answers(place)
    except ValueError as error:
        raise ConfigError(_NO_ADDRESS.format(address or "RAY_ADDRESS")) from error
    except ConnectionError as error:
        raise JobError(str(error)) from error
    with _answering():
        return GcsClient(address=place)


def _chosen(nodes: list[LivingNode], node_id: str | None, started: frozenset[str] | None) -> LivingNode:
    if node_id is not None:
        found = [node for node in nodes if node.id == node_id]
        named = f"the cluster has no living node {node_id}; `ray list nodes` names them"
    elif started is not None:
        found = [node for node in nodes if node.id in started]
        named = "the node that this command has started is not in the cluster"
    else:
        here = set(services.find_node_ids())  # type: ignore[no-untyped-call]
        found = [node for node in nodes if node.id in here and _is_own(node.address)]
        named = "no living node of this cluster runs on this machine; run it there, or name the node with --node ID"
    if not found:
        raise ConfigError(named)
    if len(found) > 1:
        listed = ", ".join(node.id for node in found)
        raise ConfigError(f"several nodes of this cluster run on this machine; name one with --node ID: {listed}")
    return found[0]


def _is_own(address: str) -> bool:
    """Whether this machine has the address: in a container other machines' processes may be seen, too."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
