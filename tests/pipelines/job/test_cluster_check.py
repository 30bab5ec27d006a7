"""Addresses at which no Ray answers; tests/chaos and tests/infra have clusters that do."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipelines.job import cluster_check
from pipelines.job.cluster_check import check_answers
from tests.chaos.clusters import SETTINGS, cluster
from tests.pipelines.processes import deaf_address


@pytest.fixture
def silent() -> Iterator[str]:
    """HOST:PORT of something that listens and never says a word."""
    with socket.socket() as listening:
        # Ray calls this machine by another of its addresses.
        listening.bind(("0.0.0.0", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_listens_it_is_said_at_once(scheme: str) -> None:
    refused = r"nothing answers at .*:\d+ \(Connection refused\)"
    with deaf_address() as address, pytest.raises(ConnectionError, match=refused):
        check_answers(f"{scheme}{address}")


def test_what_listens_and_is_no_ray_is_given_up_soon(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_check, "_SECONDS", 0.5)
    with pytest.raises(ConnectionError, match=r"Ray at .* did not answer within 0\.5 s: something listens there"):
        check_answers(silent)


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.1:", "ray://head:x", "head:99999", "head:²"])
def test_an_address_without_its_port(address: str) -> None:
    with pytest.raises(ValueError, match=r"names no host and port; name HOST:PORT|Invalid address"):
        check_answers(address)


def test_what_is_no_address() -> None:
    with pytest.raises(ValueError, match="Invalid address format: nonsense"):
        check_answers("nonsense")


@pytest.mark.ray
def test_a_token_is_taken_where_it_is_wanted() -> None:
    program = """
import sys
from pipelines.job.cluster_check import check_answers
try:
    check_answers(sys.argv[1])
    import ray
    ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
    print(int(ray.cluster_resources()["CPU"]))
except ConnectionError as error:
    print(error)
"""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Ray's sockets have long names, and pytest's own folders are too deep for them.
    with TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as short, cluster(Path(short) / "r", 1) as running:
        (home := Path(short) / "home" / ".ray").mkdir(parents=True)

        def said(token: str | None, **more: str) -> str:
            if token is not None:
                (home / "auth_token").write_text(token)
            words = (sys.executable, "-c", program, running.address)
            env = {**bare, "HOME": str(home.parent), **more}
            return subprocess.run(words, env=env, capture_output=True, text=True, timeout=240).stdout

        wanted = re.compile(r"the cluster at .* wants a token .* RAY_AUTH_MODE=token, and have the cluster's token")
        assert wanted.match(said(None))
        assert wanted.match(said("another one" * 4))
        assert said(SETTINGS["RAY_AUTH_TOKEN"]) == "1\n"
        assert wanted.match(said(None, RAY_AUTH_MODE="disabled"))
