"""What a machine says of itself when a job asks it."""

import socket
import threading
import time
from pathlib import Path

import pyarrow
import pytest

from pipelines.job.nodes import facts
from pipelines.job.nodes.facts import Questions, WantedFile, look
from pipelines.storage.filesystem import resolve
from tests.pipelines.processes import deaf_address


def _asked(*files: WantedFile, model: str | None = None) -> dict[str, str]:
    return dict(look(Questions(("pyarrow", "no-such-distribution"), model, files), ()).unreachable)


def test_it_says_versions_clock_and_room(tmp_path: Path) -> None:
    before = time.time()
    told = look(Questions(("pyarrow", "no-such-distribution")), (str(tmp_path), "/no/such/folder"))
    assert before <= told.clock <= time.time()
    assert (told.host, told.versions) == (socket.gethostname(), {"pyarrow": pyarrow.__version__})
    assert told.disks[0].folder == str(tmp_path)
    assert 0 < told.disks[0].free < told.disks[0].total


def test_a_model_that_only_the_driver_has(tmp_path: Path) -> None:
    assert _asked(model=str(tmp_path)) == {}
    assert _asked(model=f"{tmp_path}/none") == {f"the model {tmp_path}/none": "there is no such folder"}


def test_a_folder_that_is_not_shared(tmp_path: Path) -> None:
    store = resolve(str(tmp_path))
    output = WantedFile("OUTPUT", store, store.path("_manifest.json"))
    assert _asked(output) == {f"OUTPUT {tmp_path}": "_manifest.json is not there"}
    (tmp_path / "_manifest.json").write_text("{}")
    assert _asked(output) == {}


def test_a_store_that_does_not_answer_and_one_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(facts, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with deaf_address() as address:
        options = {"endpoint_url": f"http://{address}"}
        there = resolve("s3://bucket/in.jsonl", {**options, "key": "k", "secret": "s"})
        why = _asked(WantedFile("INPUT", there, there.root))
        assert address in why["INPUT s3://bucket/in.jsonl"]
        bare = resolve("s3://bucket/in.jsonl", options)
        assert "redentials" in _asked(WantedFile("INPUT", bare, bare.root))["INPUT s3://bucket/in.jsonl"]


def test_a_store_that_fails_for_a_moment_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not at once: a store that is restarted would fail both times."""
    store = resolve(str(tmp_path))
    tries, pauses = [0], list[float]()

    def info(path: str) -> dict[str, str]:
        tries[0] += 1
        if tries[0] == 1:
            raise OSError("connection reset")
        return {"name": path}

    monkeypatch.setattr(store.fs, "info", info)
    monkeypatch.setattr("pipelines.job.nodes.facts.time.sleep", pauses.append)
    assert _asked(WantedFile("OUTPUT", store, store.path("_manifest.json"))) == {}
    assert (tries, pauses) == ([2], [facts._PAUSE_SECONDS])


def test_a_firewall_that_swallows_packets_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_LOOK_SECONDS", 0.2)
    never, silent, answering = threading.Event(), resolve("memory://silent"), resolve(str(tmp_path))
    (tmp_path / "in.jsonl").write_text("{}")
    monkeypatch.setattr(silent.fs, "info", lambda path: never.wait())
    files = (WantedFile("OUTPUT", silent, "x"), WantedFile("INPUT", answering, answering.path("in.jsonl")))
    assert _asked(*files) == {"OUTPUT memory://silent": "no answer within 0.2 s"}
    never.set()
