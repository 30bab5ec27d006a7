"""What the tests of both packages share."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Where more threads compute than there are cores, OpenMP's threads wait in loops for those that have none, which took a
# fifth to a half more CPU time. Read when torch is loaded, here and in every process that a test starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Ray ends workers where the memory of the machine is nearly full, whoever has taken it.
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
# By default a cluster that is not up in half a minute is an error, which a busy machine may make of any.
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "180")

# Hypothesis without clocks or dice: machines that share a core with others are slow at times, and a failure must come
# back when it is looked into. Before any test is imported, so that it holds for all, whichever are run.
settings.register_profile(
    "spanmill", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("spanmill")

_ROOT = Path(__file__).parents[1]


@cache
def _turn(module: Path) -> int:
    """When a module is run: 0 with the shared Ray cluster, 1 with clusters of its own; 2 without Ray, as a whole, and 3
    test by test: these are short, and fill what is left of the last of the long ones.

    xdist's scheduler sees names of tests only, no markers, so the source is looked at.
    """
    source = _source(module)
    if 'usefixtures("cluster")' in source:
        return 0
    if "pytest.mark.ray" in source:
        return 1
    return 2 if "pytest.mark.together" in source else 3


@cache
def _source(module: Path) -> str:
    return module.read_text(encoding="utf-8")


class _RayFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Tests are shared out one by one, but those of a module that starts Ray, or that has a fixture which takes seconds
    and says so by `pytest.mark.together`, together; modules with Ray come first.

    A cluster takes some seconds, a gigabyte and, at times, every core; this way there are never more clusters in use
    than workers. xdist's own way, `--dist loadgroup`, groups nothing under pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        module = _module(nodeid)
        return nodeid if _turn(module) == 3 else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = min(self.workqueue, key=lambda scope: _turn(_module(scope)))
        self.workqueue.move_to_end(waiting, last=False)
        super()._assign_work_unit(node)


def _module(nodeid: str) -> Path:
    return _ROOT / nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Clusters of different workers must not find each other; the sockets in this folder want a short path."""
    if hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="sm-", dir="/tmp", ignore_cleanup_errors=True)
        os.environ["RAY_TMPDIR"] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the shared cluster has the marker; modules with clusters of their own say it themselves."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)
        if item.get_closest_marker("more"):
            # They take many minutes each, and several times as many on a busy machine.
            item.add_marker(pytest.mark.timeout(3600))
    # Without xdist, too, the shared cluster is started once.
    items.sort(key=lambda item: _turn(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _RayFirst(config, log)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two processes on two cores compute with a thread each."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ExitStack]:
    """What keeps the shared cluster of this session (of each xdist worker) running; closing it ends the cluster."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of the user's own cache: converted models, which all workers of xdist share."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "cache"


@pytest.fixture
def conversions(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the models that a test converts are kept for the other tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    return cache_home / "spanmill" / "converted"


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, shared_cluster: ExitStack, cache_home: Path) -> None:
    """A local Ray cluster, as a job would start it, which all modules share; jobs find it and leave it running."""
    import ray

    from pipelines.config.job import RayParameters
    from pipelines.job.ray_cluster import connected

    assert _turn(request.path) == 0, 'a module that shares the cluster says usefixtures("cluster")'
    if not ray.is_initialized():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache_home))
            shared_cluster.enter_context(connected(RayParameters(object_store_mb=256)))


@pytest.fixture(scope="module", autouse=True)
def _no_cluster_left(request: pytest.FixtureRequest, shared_cluster: ExitStack) -> None:
    """Ends the shared cluster before the first module that does not use it, which may connect to one of its own."""
    if _turn(request.path) != 0:
        shared_cluster.close()


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained DistilBERT of models/make_untrained.py, in a folder of this session (of each xdist worker)."""
    from transformers.utils import logging

    from models.make_untrained import HERE, make_model, make_tokenizer, make_vocabulary, read_texts

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = tmp_path_factory.mktemp("model") / "untrained"
    vocabulary = make_vocabulary(read_texts(HERE.parent / "samples" / "corpus.jsonl"))
    make_model(len(vocabulary)).save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    return folder
