"""`spanmill view` as a user starts it."""

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.cli.commands import view as view_module
from pipelines.cli.commands.view import view
from pipelines.errors import ConfigError
from tests.pipelines.processes import Command, free_port
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    write_output(tmp_path / "first", TOWNS, ANSWERS, folder=tmp_path)
    write_output(tmp_path / "second", TOWNS, {**ANSWERS, "q0": ("Ada", 0.5)}, folder=tmp_path)
    return tmp_path


@pytest.fixture
def started(outputs: Path) -> Iterator[Any]:
    running: list[Command] = []

    def start(*words: str, **env: str) -> Command:
        running.append(Command(("spanmill", "view", *words), outputs, env))
        return running[-1]

    yield start
    for command in running:
        command.clean_up()


def _address(command: Command) -> str:
    command.wait_until(lambda: "stop: Ctrl-C" in command.said()[1])
    return next(line.split()[1] for line in command.said()[1].splitlines() if line.startswith("ready: "))


def _get(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as reply:
        return json.load(reply)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_writes_nothing(started: Any, outputs: Path, number: signal.Signals) -> None:
    before = {path: path.stat().st_mtime_ns for path in outputs.rglob("*")}
    command = started("first", "second")
    url = _address(command)
    assert _get(f"{url}/api/count?q=london") == {"count": 1}
    assert _get(f"{url}/api/job")["comparison"]["agreement"] == 0.8
    command.signal(number)
    code, out, said = command.end(60)
    assert (code, out) == (0, "")
    assert said.splitlines()[-1] == "stopped"
    assert {path: path.stat().st_mtime_ns for path in outputs.rglob("*")} == before


def test_keys_and_ports_of_ones_own(started: Any) -> None:
    port = free_port()
    command = started("first", "--port", str(port), "--host", "0.0.0.0", SPANMILL_KEYS="secret")
    url = _address(command)
    assert url == f"http://127.0.0.1:{port}"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _get(f"{url}/api/job")
    assert _get(f"{url}/api/job", Authorization="Bearer secret")["keys"]


def test_a_folder_without_a_job_is_wrong_use(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((str(outputs),), (str(outputs / "first"), str(outputs / "nowhere"))):
        with pytest.raises(typer.Exit) as ended:
            view(*words)
        assert ended.value.exit_code == 2
        assert re.search(r"^error: .*: no job of Spanmill here", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, "--host: other machines reach 0.0.0.0, .* set SPANMILL_KEYS"),
        ({"overrides": ["output.storage=7"]}, r"output\.storage"),
        (
            {"overrides": ["outptu.storage.anon=true"]},
            r"unknown key outptu\.storage\.anon; the nearest is output\.storage",
        ),
        ({"overrides": ["qa.top_k=5"]}, r"unknown key qa\.top_k.* \(groups here: corpus, output, other\)"),
        ({"config": Path("missing.yaml")}, r"missing\.yaml"),
    ],
)
def test_what_cannot_be_used_is_said(
    outputs: Path, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPANMILL_KEYS", "SPANMILL_OPEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=said):
        view(str(outputs / "first"), **options)


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "_PACKAGES", ("json", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package: pip install 'spanmill\[view\]'"):
        view("out")


def test_a_browser_is_opened_where_it_is_asked_for(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_and_stop(url: str) -> bool:
        opened.append(url)
        signal.raise_signal(signal.SIGINT)
        return True

    monkeypatch.setattr("webbrowser.open", open_and_stop)
    view(str(outputs / "first"), open_browser=True)
    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")
