"""How jobs find the service of their machine; test_serving has one beside another cluster."""

import os
import subprocess
from pathlib import Path

import pytest

from pipelines.job.service_discovery import announced, service_address


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def test_a_service_is_found_while_it_runs_the_last_one_first() -> None:
    assert service_address() is None
    with announced("127.0.0.1:1"):
        assert service_address() == "127.0.0.1:1"
        with announced("127.0.0.1:2"):
            assert service_address() == "127.0.0.1:2"
    assert service_address() is None


def test_a_service_that_was_killed_is_not_there(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with announced("127.0.0.1:1"):
        (file,) = tmp_path.iterdir()
        file.write_text(f"127.0.0.1:1 {gone.pid}")
        assert service_address() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_what_another_user_says_is_not_believed(tmp_path: Path) -> None:
    with announced("127.0.0.1:1"):
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        os.chown(file, 12345, 12345)
        assert service_address() is None


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    with announced("127.0.0.1:1"):
        (file,) = tmp_path.iterdir()
        name, said = file.name, file.read_text()
    (tmp_path / "elsewhere").write_text(said)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    assert service_address() is None
    with announced("127.0.0.1:2"):
        assert (tmp_path / "elsewhere").read_text() == said


def test_a_folder_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "missing"))
    with announced("127.0.0.1:1"):
        assert service_address() is None
