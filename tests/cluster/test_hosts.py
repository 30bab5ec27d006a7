"""Hosts have addresses, files and processes of their own, and nothing of them is left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cluster import hosts
from tests.cluster.host import ROOT, STATE, Host, ip, missing, names
from tests.waiting import until

pytestmark = [pytest.mark.more, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def _connect(host: Host) -> str:
    return f"import socket; socket.create_connection(('{host.address}', 9), 2)"


@pytest.fixture
def two() -> Iterator[tuple[Host, Host]]:
    """Two hosts without Ray."""
    with FileLock(hosts.LOCK):
        hosts.down()
        try:
            hosts.build_bridge()
            made = Host("one", "10.77.0.21"), Host("two", "10.77.0.22")
            for host in made:
                host.plug_in(hosts.BRIDGE, hosts.BRIDGE_ADDRESS)
                host.boot()
            yield made
        finally:
            hosts.down()


def test_hosts_share_no_folder_that_can_be_written(two: tuple[Host, Host]) -> None:
    one, other = two
    for folder in ("/tmp", "/root", "/var/tmp", "/dev/shm", "/run"):
        one.run("touch", f"{folder}/of-one")
        assert other.run("test", "-e", f"{folder}/of-one", check=False).returncode == 1
        assert not Path(folder, "of-one").exists()
    assert one.run("touch", str(ROOT / "of-one"), check=False).returncode == 1
    assert one.run("python", "-c", "import actors; print(actors.__file__)").stdout.startswith(str(ROOT))


def test_hosts_see_their_own_processes_and_name_and_reach_each_other(two: tuple[Host, Host]) -> None:
    one, other = two
    assert one.run("hostname").stdout == "one\n"
    assert "sleep 12345" not in other.run("ps", "ax").stdout
    words = ("import socket; server = socket.create_server(('0.0.0.0', 9)); print('up', flush=True);",)
    program = " ".join((*words, "print(server.accept()[1][0])"))
    server = other.start(STATE / "server.log", "python", "-c", program)
    server.wait_until_says("up")
    one.run("python", "-c", _connect(other))
    assert server.end(60) == (0, f"up\n{one.address}\n")


def test_a_cut_host_is_not_reached_until_it_is_restored(two: tuple[Host, Host]) -> None:
    one, other = two
    other.cut()
    assert "timed out" in one.run("python", "-c", _connect(other), check=False).stderr
    other.restore()
    assert "refused" in one.run("python", "-c", _connect(other), check=False).stderr


def test_signals_reach_the_command_and_a_killed_host_boots_empty(two: tuple[Host, Host]) -> None:
    one, _ = two
    program = one.start(
        STATE / "sleep.log",
        "bash",
        "-c",
        "trap 'echo told; exit 7' TERM; echo up; while true; do sleep 0.1; done",
    )
    program.wait_until_says("up")
    program.signal(signal.SIGTERM)
    assert program.end(60) == (7, "up\ntold\n")
    one.run("touch", "/tmp/kept", "/var/kept")
    one.kill()
    assert one.processes() == []
    one.boot()
    assert one.run("ls", "/tmp/kept", "/var/kept", check=False).returncode == 2


def test_down_leaves_nothing_and_may_be_repeated(two: tuple[Host, Host]) -> None:
    pids = [pid for host in two for pid in host.processes()]
    hosts.down()
    assert names() == []
    # Whoever takes in orphans on this machine may be slow to do so.
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    with pytest.raises(OSError, match="does not exist"):
        ip("link", "show", hosts.BRIDGE)
    hosts.down()


def test_a_cluster_that_somebody_keeps_is_left_alone(two: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "LOCK", Path("/run/spanmill-hosts-other.lock"))
    hosts.KEPT.write_text("{}")
    with pytest.raises(RuntimeError, match=r"`python -m tests.cluster.hosts up` has a cluster"), hosts.cluster():
        pass
    assert len(names()) == 2
