"""The connection to a Ray cluster: the one that the config or RAY_ADDRESS names, else a local one."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Where actors hold all CPUs, Ray ends a worker that has been idle for a second, and starting another takes 1.6 CPU
# seconds: on a small machine with a service every task would pay for that.
os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")

import ray
from ray import job_config

from actors.errors import first_line
from actors.models.hub import is_shipped
from pipelines.config.job import ClusterParameters, JobConfig
from pipelines.errors import ConfigError, JobError
from pipelines.job.cluster_check import check_answers
from pipelines.job.service_discovery import service_address

_MIB = 1 << 20
_LARGEST_STORE_MB = 2048
_ROOT = Path(__file__).parents[2]
_RAY_DATA_THREADS = ("StreamingExecutor", "ray-data-metadata-prefetch")
_EXECUTOR_SECONDS = 10.0
_NO_SERVICE = (
    "; --pool serve wants a running service, and no `spanmill serve` runs there: start one, or name its cluster with "
    "--set ray.address=HOST:PORT"
)


def cluster_of(config: JobConfig) -> ClusterParameters:
    """The cluster that a job runs on: the service's where the job shares its replicas, else that of the config."""
    if config.pool.kind == "own" or config.ray.address or os.environ.get("RAY_ADDRESS"):
        return config.ray
    return config.ray.model_copy(update={"address": service_address() or "auto"})


def address_of(parameters: ClusterParameters) -> str:
    """The address that Ray connects to; `local` starts a cluster that belongs to this process."""
    return parameters.address or os.environ.get("RAY_ADDRESS") or "local"


def connected_for(config: JobConfig) -> AbstractContextManager[None]:
    """As `connected`, to the cluster of a job; where a service should be there, the error says how to start one."""
    hint = "" if config.pool.kind == "own" else _NO_SERVICE
    return connected(cluster_of(config), hint, models=(config.model.name,))


@contextmanager
def connected(parameters: ClusterParameters, hint: str = "", models: Iterable[str] = ()) -> Iterator[None]:
    """Connects to Ray while the block runs; a local cluster is started and stopped with the block.

    Args:
        hint: is said behind what went wrong.
        models: names of the models that workers load.

    Raises:
        JobError: the cluster cannot be reached within some seconds, runs other versions of Ray or Python, or cannot be
            started here.
        ConfigError: the port for the metrics of a local cluster is taken.
    """
    if ray.is_initialized():
        yield
        return
    address = address_of(parameters)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # As `logging_level` below does it: Ray warns of a running cluster's tokens before it has come to that.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if address != "local":
            check_answers(address)
        options = _options(address, parameters, models)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        # Ray raises a plain Exception where its processes do not come up in time, and OSError for its folders.
        if not (type(error) is Exception or isinstance(error, OSError | RuntimeError | ValueError)):
            raise
        raise JobError(f"ray.address: {address} cannot be used: {first_line(error)}{_mend(error)}{hint}") from error
    except SystemExit as end:
        # A SIGTERM that came after Ray had installed its handler, and before the previous one was back.
        if end.code == signal.SIGTERM:
            raise KeyboardInterrupt from None
        raise
    finally:
        # Ray installs a handler that aborts the process; put the previous one back.
        _handle_sigterm(on_sigterm)
    try:
        yield
    finally:
        _wait_for_executors()
        ray.shutdown()
        _handle_sigterm(on_sigterm)


def _mend(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return ". Ray keeps files in ~/.ray and in its temporary folder: HOME and RAY_TMPDIR must be writable"
    if type(error) is Exception:
        return " Ray's processes did not start in time: the machine is busy, or their logs under RAY_TMPDIR say why"
    return ""


def _wait_for_executors() -> None:
    # A thread that waits for Ray while Ray shuts down takes the process with it (ray issue 31145), and Ray Data waits
    # two seconds only for its own to end.
    for thread in threading.enumerate():
        if thread.name.startswith(_RAY_DATA_THREADS):
            thread.join(_EXECUTOR_SECONDS)


def _handle_sigterm(handler: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


def cluster_size(without: frozenset[str] = frozenset()) -> tuple[Mapping[str, float], int]:
    """Resources of the connected cluster as Ray names them (CPU, GPU), and its number of machines.

    A head that has no CPUs, so that no work comes to it, is not counted.

    Args:
        without: ids of nodes that do not count.
    """
    nodes: list[Any] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    left = [node["Resources"] for node in nodes if node["NodeID"] not in without]
    number = max(sum(resources.get("CPU", 0) > 0 for resources in left), 1)
    if without:
        return {name: sum(one.get(name, 0.0) for one in left) for name in ("CPU", "GPU")}, number
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources, number


def count_gpus(parameters: ClusterParameters) -> float:
    """GPUs of the cluster, connected or not; 0 where it cannot be reached, which is for the run itself to say."""
    if ray.is_initialized():
        return cluster_size()[0].get("GPU", 0.0)
    address = address_of(parameters)
    if address == "local":
        return _gpus_here()
    try:
        with connected(parameters):
            return cluster_size()[0].get("GPU", 0.0)
    except JobError:
        return 0.0


def _gpus_here() -> float:
    """GPUs of this machine that a local cluster would have, without touching them."""
    from ray._private.accelerators import get_all_accelerator_managers

    gpus = 0.0
    for manager in get_all_accelerator_managers():
        if manager.get_resource_name() == "GPU":
            visible = manager.get_current_process_visible_accelerator_ids()
            there = manager.get_current_node_num_accelerators()
            gpus += there if visible is None else min(there, len(visible))
    return gpus


def metrics_endpoint() -> str:
    """URL at which the driver's machine exports metrics for Prometheus while its Ray runs."""
    here = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def _job_config() -> job_config.JobConfig:
    """Makes warnings of workers, such as retried calls to a store, lines of JSON in Ray's own logs."""
    config = job_config.JobConfig()
    config.set_py_logging_config(ray.LoggingConfig("JSON", "WARNING", ["name"]))
    return config


def code_for_workers(models: Iterable[str]) -> dict[str, Any]:
    """The runtime environment that sends this code to the workers of a running cluster, which may have another version.

    Args:
        models: names of the models that they load; the one that ships lies beside the code that finds it, and goes with
            it where it is one of them. Otherwise it stays here: it is a hundred times as large as the code.
    """
    code: dict[str, Any] = {"py_modules": [str(_ROOT / name) for name in ("actors", "pipelines")]}
    return code if any(map(is_shipped, models)) else code | {"excludes": ["/models/minilm-qa"]}


def _options(address: str, parameters: ClusterParameters, models: Iterable[str]) -> dict[str, Any]:
    if address == "local":
        if parameters.metrics_port is not None:
            check_free(parameters.metrics_port, "ray.metrics_port", "")
        store = parameters.object_store_mb or min(_LARGEST_STORE_MB, _memory_mb() // 4)
        return {
            "include_dashboard": False,
            "object_store_memory": store * _MIB,
            "_metrics_export_port": parameters.metrics_port,
            "job_config": _job_config(),
        }
    code = {"runtime_env": code_for_workers(models)}
    # Ray's client takes no job_config.
    return code if address.startswith("ray://") else code | {"job_config": _job_config()}


def check_free(port: int, key: str, host: str) -> None:
    """Raises ConfigError, which names the key, where a port is taken: Ray itself would wait for it silently."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"{key}: {port} is taken ({error.strerror}); name another") from error


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
