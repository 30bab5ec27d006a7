"""What goes into the container image and what it runs, without building it; test_image_build.py builds it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from shutil import copytree, which
from threading import Thread
from typing import Any

import httpx2
import pytest
from huggingface_hub import InferenceClient

from actors.parameters import QAParameters
from tests.infra.manifests import INFRA, ROOT, copied_sources
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer
from tests.pipelines.processes import BIN, Command, free_port

ENTRY = INFRA / "entrypoint.sh"
DOCKERFILE = (INFRA / "Dockerfile").read_text()


def _variables() -> dict[str, str]:
    """The environment variables that the image sets."""
    [block] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())


def test_what_the_image_takes_exists_and_is_sent_to_the_build() -> None:
    sources = copied_sources()
    assert {"models/minilm-qa", "infra/entrypoint.sh"} <= set(sources)
    sent = [line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in sent), source


def test_the_image_runs_its_entry_and_listens_to_its_host() -> None:
    [copied] = re.findall(r"^COPY infra/entrypoint\.sh (\S+)$", DOCKERFILE, re.MULTILINE)
    [entry] = re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(entry) == ["/usr/bin/tini", "-s", "--", "/bin/sh", copied]
    assert not re.findall(r"^CMD", DOCKERFILE, re.MULTILINE), "words behind the image's name are the entry's"
    variables = _variables()
    assert variables["SPANMILL_HOST"] == "0.0.0.0"
    assert variables["SPANMILL_MODEL_FOLDERS"].split(":") == ["/repository", "/opt/ml/model"]


def test_the_image_is_labelled_with_our_version_and_checked_by_its_script() -> None:
    [labelled] = re.findall(r"^ARG VERSION=(.+)$", DOCKERFILE, re.MULTILINE)
    assert labelled == version("spanmill")
    [copied] = re.findall(r"^COPY infra/healthcheck\.sh (\S+)$", DOCKERFILE, re.MULTILINE)
    [check] = re.findall(r"^HEALTHCHECK (?:.*\\\n)*\s*CMD (.+)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(check) == ["/bin/sh", copied]


@pytest.mark.parametrize(
    ("words", "said", "runs", "port", "checked"),
    [
        ((), {}, "spanmill serve", "", "8000"),
        ((), {"PORT": "9000"}, "spanmill serve", "", "9000"),
        (("serve",), {}, "spanmill serve", "8080", "8080"),
        (("serve",), {"SAGEMAKER_BIND_TO_PORT": "8123"}, "spanmill serve", "8123", "8123"),
        (("serve",), {"SAGEMAKER_BIND_TO_PORT": "8123", "SPANMILL_PORT": "9000"}, "spanmill serve", "9000", "9000"),
        (("spanmill", "serve", "--model", "a b"), {"SPANMILL_PORT": "9"}, "spanmill serve|--model|a b", "9", "9"),
        (("spanmill", "serve", "--port", "91"), {"PORT": "9"}, "spanmill serve|--port|91", "", "91"),
        (("spanmill", "serve", "--port=91"), {"PORT": "9"}, "spanmill serve|--port=91", "", "91"),
        (("spanmill", "answer", "a b", "out"), {}, "spanmill answer|a b|out", "", None),
        (("spanmill", "node", "--address", "head:6379"), {}, "spanmill node|--address|head:6379", "", None),
        (("serve", "status"), {}, "serve status", "", None),
    ],
)
def test_the_entry_runs_the_service_or_the_command_that_is_given(
    tmp_path: Path, words: tuple[str, ...], said: dict[str, str], runs: str, port: str, checked: str | None
) -> None:
    for name in ("spanmill", "serve"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\nIFS="|"\necho "${0##*/} $*"\necho "${SPANMILL_PORT:-}"\n')
        program.chmod(0o755)
    env = said | {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["/bin/sh", str(ENTRY), *words], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [runs, port]
    told = tmp_path / "spanmill-port"
    assert (told.read_text().strip() if told.exists() else None) == checked


class _Service(BaseHTTPRequestHandler):
    """Answers `/ready` with the status that stands in its server."""

    server: "_Server"

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/ready" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nowhere."""


class _Server(HTTPServer):
    status = 200


@pytest.mark.skipif(which("wget") is None, reason="wget is not installed here")
def test_health_is_what_the_service_says_and_where_there_is_none_that_it_runs(tmp_path: Path) -> None:
    def health() -> int:
        env = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
        return subprocess.run(["/bin/sh", str(INFRA / "healthcheck.sh")], env=env, capture_output=True).returncode

    assert health() == 0
    with _Server(("127.0.0.1", 0), _Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "spanmill-port").write_text(f"{server.server_port}\n")
        assert health() == 0
        server.status = 503
        assert health() != 0
        server.shutdown()
    assert health() != 0, "nobody listens"


@contextmanager
def _container(folder: Path, *words: str, **said: str) -> Iterator[Command]:
    """The entry in a process with the variables of the image, and those that its host sets."""
    env = _variables() | {"PATH": f"{BIN}:{os.environ['PATH']}"} | said
    command = Command(("/bin/sh", str(ENTRY), *words), folder, env)
    try:
        command.wait_until(lambda: "ready: http" in command.said()[1])
        yield command
    finally:
        command.clean_up()


@pytest.mark.more
@pytest.mark.ray
def test_with_nothing_set_it_serves_the_model_that_ships(tmp_path: Path) -> None:
    port = free_port()
    # The port alone: another test may have that of the image.
    with _container(tmp_path, PORT=str(port)) as command:
        assert "no keys are wanted" in command.said()[1]
        url = f"http://127.0.0.1:{port}"
        assert httpx2.get(f"{url}/health").status_code == 200
        assert httpx2.get(f"{url}/ready").json()["model"] == "minilm-qa"
        found: Any = InferenceClient(base_url=url).question_answering(
            question="Where was Ada Lovelace born?", context="Ada Lovelace was born in London in 1815."
        )
        assert found.answer == "London"
        command.process.terminate()
        code, _, errors = command.end()
        assert code == 0, errors


@pytest.mark.more
@pytest.mark.ray
def test_it_serves_the_model_that_its_host_put_where_sagemaker_does(tmp_path: Path, untrained_model: Path) -> None:
    repository, opt, port = tmp_path / "repository", tmp_path / "opt-ml-model", free_port()
    repository.mkdir()
    copytree(untrained_model, opt)
    (row,) = mixed_rows(1)
    pair = {"question": row["question"], "context": row["context"]}
    said = {
        "SPANMILL_MODEL_FOLDERS": f"{repository}:{opt}",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SPANMILL_HEALTH_ROUTE": "/ours/up",
    }
    with _container(tmp_path, "serve", **said):
        url = f"http://127.0.0.1:{port}"
        ping = httpx2.get(f"{url}/ping")
        assert (ping.status_code, ping.content) == (200, b"")
        assert httpx2.get(f"{url}/ours/up").json()["model"] == "opt-ml-model"
        reply = httpx2.post(f"{url}/invocations", json={"inputs": pair}, timeout=300)
        assert reply.status_code == 200, reply.text
        (expected,) = bare_engine(untrained_model, [row], QAParameters())
        assert same_answer(reply.json(), expected["answers"][0])
