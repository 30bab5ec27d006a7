"""Connecting to Ray; what needs a cluster is in test_execute and test_running_cluster."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray

from pipelines.config.job import AnswerConfig, RayParameters
from pipelines.config.loader import load_config
from pipelines.errors import ConfigError, JobError
from pipelines.job.ray_cluster import code_for_workers, connected, connected_for, count_gpus
from pipelines.job.service_discovery import announced
from tests.pipelines.processes import deaf_address


def test_an_address_that_is_none() -> None:
    with (
        pytest.raises(JobError, match=r"ray\.address: nonsense cannot be used: Invalid address"),
        connected(RayParameters(address="nonsense")),
    ):
        raise AssertionError("connected to nothing")


def test_a_service_that_has_died_is_missed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file with its address is there, and so is its process; its Ray is not."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = load_config(AnswerConfig, None, ["pool.kind=serve"])
    said = r"ray\.address: .* nothing answers at .*; --pool serve wants .* no `spanmill serve` runs there: start one"
    with (
        deaf_address() as address,
        announced(address),
        pytest.raises(JobError, match=said),
        connected_for(config),
    ):
        raise AssertionError("connected to nothing")


def test_the_model_that_ships_is_sent_with_the_code_to_those_who_load_it() -> None:
    with_model = code_for_workers(["a/base", "minilm-qa"])
    without = code_for_workers(["a/base"])
    assert with_model["py_modules"] == without["py_modules"]
    assert (with_model.get("excludes"), without["excludes"]) == (None, ["/models/minilm-qa"])
    actors = Path(with_model["py_modules"][0])
    assert (actors / "models" / "minilm-qa" / "model.safetensors").is_file()


def test_a_metrics_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"ray\.metrics_port: {port} is taken .*; name another"),
            connected(RayParameters(metrics_port=port)),
        ):
            raise AssertionError("connected all the same")


@pytest.mark.ray
def test_sigterm_is_ctrl_c_and_not_rays_abort() -> None:
    program = """
import signal, time
from pipelines.job.ray_cluster import connected
from pipelines.config.job import ClusterParameters
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with connected(ClusterParameters(object_store_mb=80)):
        print("up", flush=True)
        # Not `signal.pause`, which waits for the next signal where this one comes just before.
        while True:
            time.sleep(0.1)
except KeyboardInterrupt:
    print("stopped", signal.getsignal(signal.SIGTERM) is signal.default_int_handler)
"""
    process = subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, said) == (0, "stopped True\n")


def test_sigterm_just_after_ray_has_installed_its_handler_is_ctrl_c_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def starts(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ray, "init", starts)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), connected(RayParameters(address="local")):
        raise AssertionError("connected all the same")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.ray
def test_ray_shuts_down_after_the_threads_of_ray_data() -> None:
    seen: list[bool] = []

    def executor() -> None:
        time.sleep(1.0)
        seen.append(ray.is_initialized())

    with connected(RayParameters(address="local")):
        threading.Thread(target=executor, name="StreamingExecutor-test").start()
    assert seen == [True]


def test_a_cluster_that_cannot_be_reached_has_no_gpus() -> None:
    assert count_gpus(RayParameters(address="nonsense")) == 0


@pytest.mark.ray
def test_gpus_are_those_of_the_cluster_and_not_of_the_driver() -> None:
    ray.init(num_cpus=1, num_gpus=3, include_dashboard=False, log_to_driver=False)
    try:
        assert count_gpus(RayParameters()) == 3
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Exception("The current node timed out during startup."), "timed out during startup. Ray's processes did not"),
        (PermissionError(13, "Permission denied", "/root/.ray"), "Permission denied.*HOME and RAY_TMPDIR must be"),
    ],
)
def test_a_ray_that_cannot_be_started_here(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def starts(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", starts)
    with (
        pytest.raises(JobError, match=rf"^ray\.address: local cannot be used: .*{said}"),
        connected(RayParameters(address="local")),
    ):
        raise AssertionError("connected all the same")


def test_an_error_that_is_not_rays_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def starts(**_: object) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr(ray, "init", starts)
    with pytest.raises(AttributeError, match="a bug"), connected(RayParameters(address="local")):
        raise AssertionError("connected all the same")
