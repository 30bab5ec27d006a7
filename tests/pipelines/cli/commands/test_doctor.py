"""`spanmill doctor` on this machine."""

import socket
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from actors.registry import RUNTIMES
from pipelines.cli.commands.doctor import Finding, examine, show
from pipelines.errors import ConfigError


def _findings(model: str) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(model)}


def test_a_machine_that_runs_these_tests_is_well(untrained_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _findings(str(untrained_model))
    assert {found[name].state for name in ("python", "ray", "torch", "pyarrow", "s3 storage", "model")} == {"ok"}
    assert str(untrained_model) in found["model"].found
    show(str(untrained_model))
    assert "s3fs" in capsys.readouterr().out


def test_runtimes_are_told_and_one_that_is_missing_says_what_to_install(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_runtimes.py").write_text(
        "from dataclasses import replace\n"
        "from actors.backends.null import RUNTIME\n"
        "ABSENT = replace(RUNTIME, packages=('numpy', 'no_such_package'), extra='toys')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(RUNTIMES, "absent", "own_runtimes:ABSENT")
    found = _findings(str(untrained_model))
    assert found["openvino runtime"] == Finding("openvino runtime", "ok", f"openvino {version('openvino')}")
    assert found["absent runtime"] == Finding(
        "absent runtime", "note", "no_such_package is not installed", "pip install 'spanmill[toys]'"
    )
    assert not {"torch runtime", "null runtime"} & set(found)


def test_what_is_wrong_is_said_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{deaf.getsockname()[1]}")
        found = _findings(f"{tmp_path}/none")
        assert not show(f"{tmp_path}/none")
    assert (found["model"].state, found["cluster"].state) == ("wrong", "wrong")
    assert "there is no folder" in found["model"].found
    assert "WRONG" in capsys.readouterr().out


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", 8000))
            server.listen()
        except OSError:
            pass  # Somebody has it, which will do.
        assert _findings("minilm-qa")["port"] == Finding(
            "port", "note", "8000 is taken", "`spanmill serve --port` takes another"
        )


def test_a_folder_that_ray_has_yet_to_make_is_no_fault(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "not" / "yet"))
    assert _findings(str(untrained_model))["disk"].state in ("ok", "wrong")


def test_the_nodes_of_the_cluster_that_ray_address_names_are_asked_too(
    monkeypatch: pytest.MonkeyPatch, untrained_model: Path
) -> None:
    asked = []

    def nodes(address: str, model: str, stores: Sequence[str]) -> Iterator[Finding]:
        asked.append((address, stores))
        yield Finding("node worker", "ok", "fine")

    monkeypatch.setattr("pipelines.job.cluster_check.check_answers", lambda address: None)
    monkeypatch.setattr("pipelines.cli.commands.doctor._nodes", nodes)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    stores = ["s3://bucket/corpus"]
    found = {one.what: one for one in examine(str(untrained_model), stores=stores)}
    assert found["node worker"].state == "ok"
    assert found["cluster"].found == "RAY_ADDRESS=10.0.0.1:6379 answers"
    list(examine(str(untrained_model), "10.0.0.2:6379"))
    assert asked == [("10.0.0.1:6379", stores), ("10.0.0.2:6379", ())]


def test_a_store_without_a_cluster_whose_nodes_could_look_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="--store: nodes of a cluster look for it; name the cluster by --address or"):
        next(examine("minilm-qa", stores=["s3://bucket/corpus"]))
