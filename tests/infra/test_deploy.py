"""infra/serve.yaml, deployed to a running cluster by its dashboard."""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import yaml

from actors.parameters import QAParameters
from tests.chaos.clusters import SETTINGS, cluster
from tests.infra.manifests import serve_config
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer
from tests.pipelines.processes import BIN, free_port
from tests.waiting import until

pytestmark = pytest.mark.ray

CLIENTS = 3
HEADERS = {"Authorization": f"Bearer {SETTINGS['RAY_AUTH_TOKEN']}"}
UPDATED_TOP_K = 3
_PATIENCE = 240.0
"""Seconds that anything may take here."""


@pytest.fixture(scope="module")
def dashboard(untrained_model: Path) -> Iterator[str]:
    """URL of the dashboard of a cluster whose machines have a model in the folder where Ray was started."""
    port = free_port()
    # The dashboard's sockets have long names, and pytest's own folders are too deep for them.
    with (
        TemporaryDirectory(prefix="d", ignore_cleanup_errors=True) as short,
        cluster(folder := Path(short) / "r", cpus=2, dashboard=port),
    ):
        copytree(untrained_model, folder / "models" / "mine")
        url = f"http://127.0.0.1:{port}"
        until(lambda: _status(f"{url}/api/version") == 200, _PATIENCE)
        yield url


@pytest.mark.more
def test_deployed_asked_updated_while_asked_and_shut_down(
    dashboard: str, tmp_path: Path, untrained_model: Path
) -> None:
    config, port = serve_config(), free_port()
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = config["applications"]
    application["args"]["model"]["name"] = "models/mine"
    application["args"]["keys"] = {"none": True}
    # Nothing is refused here for being slow, however busy the machine is.
    application["args"]["sharing"] |= {"queue_ms": 60_000}
    url = f"http://127.0.0.1:{port}"
    (row,) = mixed_rows(1)

    _deploy(config, tmp_path, dashboard)
    until(lambda: _status(f"{url}/ready") == 200, _PATIENCE)
    # Ray Serve says so a moment later.
    until(lambda: "status: RUNNING" in _serve("status", "--name", application["name"], "-a", dashboard), _PATIENCE)
    (expected,) = bare_engine(untrained_model, [row], QAParameters())
    ((found,),) = _answers(url, row)
    assert same_answer(found, expected["answers"][0])

    application["args"]["qa"] = {"top_k": UPDATED_TOP_K}
    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(_ask_until_updated, url, row) for _ in range(CLIENTS)]
        # What the command does, without its start of several seconds; so is the end.
        httpx2.put(
            f"{dashboard}/api/serve/applications/", json=config, headers=HEADERS, timeout=_PATIENCE
        ).raise_for_status()
        for client in asking:
            client.result()

    httpx2.delete(f"{dashboard}/api/serve/applications/", headers=HEADERS, timeout=_PATIENCE).raise_for_status()
    until(lambda: _status(f"{url}/ready") is None, _PATIENCE)


def _deploy(config: dict[str, Any], folder: Path, dashboard: str) -> None:
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    _serve("deploy", str(path), "-a", dashboard)


def _serve(*words: str) -> str:
    done = subprocess.run(
        (str(BIN / "serve"), *words), env={**os.environ, **SETTINGS}, capture_output=True, text=True, timeout=_PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _answers(url: str, row: dict[str, Any]) -> list[list[dict[str, Any]]]:
    body = {"context": row["context"], "questions": [row["question"]]}
    response = httpx2.post(f"{url}/answer", json=body, timeout=_PATIENCE)
    assert response.status_code == 200, response.text
    answers: list[list[dict[str, Any]]] = response.json()["answers"]
    return answers


def _ask_until_updated(url: str, row: dict[str, Any]) -> None:
    """Every request on the way is answered, by the old replicas or the new ones."""
    deadline = time.monotonic() + _PATIENCE
    while len(_answers(url, row)[0]) != UPDATED_TOP_K:
        assert time.monotonic() < deadline, "the update did not come"


def _status(url: str) -> int | None:
    """The status of a GET; None where nobody listens."""
    try:
        return httpx2.get(url, headers=HEADERS, timeout=30).status_code
    except httpx2.TransportError:
        return None
