"""Starts the processes of peers, and what some of them need first: a Ray cluster, or an export of the model."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from actors.errors import first_line
from pipelines.bench.environments import own
from pipelines.bench.rounds import Contender, Contest
from pipelines.bench.worker import PeerFailed, run_to_end, working
from pipelines.config.job import AnswerConfig

_EXPORT = "pipelines.bench.workers.onnx_export"


def load(contender: Contender, setup: Mapping[str, object], stack: ExitStack) -> None:
    """Starts a peer's process, which ends with the stack; what goes wrong is kept in the contender."""
    assert contender.interpreter is not None
    try:
        worker = stack.enter_context(working(contender.interpreter, contender.peer.file, setup))
    except PeerFailed as error:
        contender.give_up(error)
        return
    if worker.declined:
        contender.skip(worker.declined)
    else:
        contender.worker = worker


def load_others(contest: Contest, setup: Mapping[str, object], folder: Path, stack: ExitStack) -> None:
    """Starts every peer that is to be measured and has no process yet; what goes wrong is kept in the contender.

    Args:
        setup: what all peers are told.
        folder: for an export of the model.
        stack: which ends the processes, and the cluster.
    """
    waiting = [one for one in contest.contenders if one.state == "measured" and one.worker is None]
    further: dict[str, object] = {}
    on_ray = [one for one in waiting if one.peer.on_ray]
    if on_ray:
        contest.say("starting Ray")
        try:
            further["ray_address"] = stack.enter_context(_cluster())
        except PeerFailed as error:
            for contender in on_ray:
                contender.give_up(error)
    for contender in (one for one in waiting if one.state == "measured"):
        contest.say(f"loading {contender.peer.name}")
        if contender.peer.wants_onnx and "onnx" not in further:
            try:
                further["onnx"] = _exported(str(setup["model"]), folder)
            except PeerFailed as error:
                contender.give_up(error)
                continue
        load(contender, {**setup, **further, **contender.peer.setup}, stack)


@contextmanager
def _cluster() -> Iterator[str]:
    """The address of a cluster that is up while the block runs, and that all peers on Ray share.

    Raises:
        PeerFailed: it does not start. Ray raises bare exceptions, as on a machine that is too busy.
    """
    # Not before here: it takes seconds.
    import ray

    from pipelines.job.ray_cluster import connected

    with ExitStack() as stack:
        try:
            stack.enter_context(connected(AnswerConfig().ray))
            address: str = ray.get_runtime_context().gcs_address
        except Exception as error:
            raise PeerFailed(f"Ray does not start: {first_line(error)}") from error
        yield address


def _exported(model: str, folder: Path) -> str:
    target = folder / "onnx"
    target.mkdir(exist_ok=True)
    # In a process of its own, since it takes torch.
    run_to_end(own(), _EXPORT, model, str(target))
    return str(target)
