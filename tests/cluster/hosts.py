"""A Ray cluster of several hosts on this one machine, and a store that all of them reach.

python -m tests.cluster.hosts up --workers 2
python -m tests.cluster.hosts exec head -- spanmill answer s3://bucket/in.parquet s3://bucket/out --set ray.address=auto
python -m tests.cluster.hosts status
python -m tests.cluster.hosts down
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from filelock import FileLock

from pipelines.storage.filesystem import resolve, write_atomic
from tests.cluster.host import PREFIX, ROOT, STATE, Host, Running, ip, missing, names, remove

BUCKET = "s3://bucket"
MODEL = f"{BUCKET}/models/minilm-qa"
INPUT = "in.parquet"
"""The sample corpus in the bucket of a cluster that `up` makes."""
BRIDGE, BRIDGE_ADDRESS = "sm-bridge", "10.77.0.254"
LOCK = Path("/run/spanmill-hosts.lock")
KEPT = STATE / "cluster.json"
_STORE_PORT, _REDIS_PORT = 9000, 6380
_PORT, _DASHBOARD_PORT, _CLIENT_PORT = 6379, 8265, 10001
_OBJECT_STORE = 160 << 20
_SUPERVISOR = """trap 'kill -TERM $!; wait $!; exit' TERM; until "$@" & wait $!; do sleep 1; done"""
_AGAIN = ("bash", "-c", _SUPERVISOR, "supervisor")
"""Starts a command that fails again, as a supervisor does, and hands SIGTERM on to it."""
_PATIENCE = 600.0
"""Seconds that anything may take here, several times over."""


@dataclass
class Cluster:
    """A head, workers, a host outside the cluster, and one with the store and Redis."""

    token: str
    """Of Ray and of the service, and the secret of the store."""
    fault_tolerant: bool
    """Whether the head keeps what it knows in Redis."""
    head: Host = field(init=False)
    store: Host = field(init=False)
    outside: Host = field(init=False)
    """A host that is no node of the cluster: a user's own machine."""
    workers: list[Host] = field(default_factory=list)
    _nodes: dict[str, Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Host("store", "10.77.0.1", self.settings)
        self.head = Host("head", "10.77.0.2", self.settings)
        self.outside = Host("outside", "10.77.0.3", self.settings)

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables of every host: how Ray and the store are reached."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray ends workers where the memory of the machine is nearly full, whoever has taken it.
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_gcs_server_port_wait_time_s": "180",
            # A worker ends where the head is away for longer than this; on a busy machine one takes minutes to start.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
            "OMP_WAIT_POLICY": "PASSIVE",
            "SPANMILL_KEYS": self.token,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "spanmill",
            "AWS_SECRET_ACCESS_KEY": self.token,
        }

    @property
    def endpoint(self) -> str:
        """URL of the S3 store."""
        return f"http://10.77.0.1:{_STORE_PORT}"

    @property
    def address(self) -> str:
        """HOST:PORT of Ray's head."""
        return f"{self.head.address}:{_PORT}"

    @property
    def client_address(self) -> str:
        """URL of Ray's client server, for drivers outside the cluster."""
        return f"ray://{self.head.address}:{_CLIENT_PORT}"

    @property
    def dashboard(self) -> str:
        """URL of the dashboard, to which jobs are submitted."""
        return f"http://{self.head.address}:{_DASHBOARD_PORT}"

    @property
    def storage(self) -> dict[str, Any]:
        """fsspec options with which this machine reaches the store."""
        return {"key": "spanmill", "secret": self.token, "endpoint_url": self.endpoint}

    def up(self, workers: int, cpus: int = 2) -> None:
        """Makes the hosts, the store with the model in it, and the cluster."""
        STATE.mkdir(exist_ok=True)
        build_bridge()
        for host in (self.store, self.head, self.outside):
            self._plug_in(host)
        self._start_store()
        self.start_head()
        for _ in range(workers):
            self.add_worker(cpus, wait=False)
        self.wait_for_nodes(1 + workers)

    def add_host(self, name: str, number: int) -> Host:
        """A further host without Ray.

        Args:
            name: at most 11 characters.
            number: last part of its address.
        """
        host = Host(name, f"10.77.0.{number}", self.settings)
        self._plug_in(host)
        return host

    def add_worker(self, cpus: int = 2, wait: bool = True) -> Host:
        """A further host, which joins the cluster."""
        number = len(self.workers) + 1
        host = self.add_host(f"worker{number}", 10 + number)
        self.workers.append(host)
        before = len(self.nodes()) if wait else 0
        self.start_worker(host, cpus)
        if wait:
            self.wait_for_nodes(before + 1)
        return host

    def start_worker(self, host: Host, cpus: int = 2) -> Running:
        """Starts Ray on a host, as a worker of the cluster."""
        words = ("spanmill", "node", f"--address={self.address}", f"--num-cpus={cpus}")
        return self._start_node(host, words)

    def drain_worker(self, host: Host) -> None:
        """Ends a worker by SIGTERM, as on a spot notice, and returns when it has left the cluster."""
        node = self._nodes[host.name]
        node.signal(signal.SIGTERM)
        code, said = node.end(_PATIENCE)
        assert code == 0, said
        assert "has left the cluster" in said

    def remove_worker(self, host: Host) -> None:
        """Has a worker leave the cluster, and removes its host."""
        before = len(self.nodes())
        self.drain_worker(host)
        self.workers.remove(host)
        host.remove()
        self.wait_for_nodes(before - 1)

    def start_head(self) -> Running:
        """Starts Ray on the head, anew where it ran before."""
        redis = {"RAY_REDIS_ADDRESS": f"{self.store.address}:{_REDIS_PORT}", "RAY_external_storage_namespace": "tests"}
        words = ("ray", "start", "--head", "--num-cpus=0", f"--port={_PORT}", "--dashboard-host=0.0.0.0")
        node = self._start_node(self.head, words, redis if self.fault_tolerant else {})
        deadline = time.monotonic() + _PATIENCE
        while self.head.run("ray", "health-check", f"--address={self.address}", check=False).returncode:
            assert node.process.poll() is None, node.said()
            assert time.monotonic() < deadline, node.said()
        return node

    def nodes(self) -> list[str]:
        """Addresses of the nodes that live, by Ray's own account."""
        url, headers = f"{self.dashboard}/api/v0/nodes", {"Authorization": f"Bearer {self.token}"}
        try:
            response = httpx2.get(url, headers=headers, timeout=30)
        except httpx2.TransportError:
            return []
        if response.status_code != 200:
            return []
        return [node["node_ip"] for node in response.json()["data"]["result"]["result"] if node["state"] == "ALIVE"]

    def wait_for_nodes(self, count: int) -> None:
        """Returns once so many nodes live, the head among them."""
        deadline = time.monotonic() + _PATIENCE
        while len(found := self.nodes()) != count:
            assert time.monotonic() < deadline, (found, {name: node.said() for name, node in self._nodes.items()})
            time.sleep(0.2)

    def put(self, name: str, content: bytes) -> str:
        """Writes an object to the bucket; its URL."""
        store = resolve(BUCKET, self.storage)
        write_atomic(store.fs, store.path(name), content)
        return f"{BUCKET}/{name}"

    def _plug_in(self, host: Host) -> None:
        host.plug_in(BRIDGE, BRIDGE_ADDRESS)
        host.boot()

    def _start_store(self) -> None:
        self.store.run("mkdir", "-p", "/tmp/store/bucket")
        words = ("rclone", "serve", "s3", "--config", "", "--addr", f"{self.store.address}:{_STORE_PORT}")
        keys = ("--auth-key", f"spanmill,{self.token}", "-v", "/tmp/store")
        rclone = self.store.start(STATE / "rclone.log", *words, *keys)
        rclone.wait_until_says("http://")
        if self.fault_tolerant:
            words = ("redis-server", "--bind", self.store.address, "--port", str(_REDIS_PORT), "--protected-mode", "no")
            redis = self.store.start(STATE / "redis.log", *words, "--save", "", "--dir", "/tmp")
            redis.wait_until_says("Ready to accept connections")
        folder = ROOT / "models" / "minilm-qa"
        for path in sorted(folder.iterdir()):
            self.put(f"models/minilm-qa/{path.name}", path.read_bytes())

    def _start_node(self, host: Host, words: tuple[str, ...], env: Mapping[str, str] | None = None) -> Running:
        own = (f"--node-ip-address={host.address}", f"--object-store-memory={_OBJECT_STORE}", "--block")
        self._nodes[host.name] = host.start(STATE / f"{host.name}.ray.log", *_AGAIN, *words, *own, env=env)
        return self._nodes[host.name]


@contextmanager
def cluster(workers: int = 2, fault_tolerant: bool = False, cpus: int = 2) -> Iterator[Cluster]:
    """A cluster until the block ends. There is one at a time: another process that wants one waits.

    Args:
        fault_tolerant: whether the head keeps what it knows in Redis.
        cpus: of each worker, as Ray counts them.
    """
    with FileLock(LOCK):
        if KEPT.exists():
            raise RuntimeError("`python -m tests.cluster.hosts up` has a cluster: end it with `... down` first")
        down()
        made = Cluster(uuid.uuid4().hex, fault_tolerant)
        try:
            made.up(workers, cpus)
            yield made
        finally:
            down()


def build_bridge() -> None:
    """Makes the bridge to which hosts are plugged in; this machine has an address there, too."""
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")


def down() -> None:
    """Removes every host, also those that a killed test left; does nothing where there is none."""
    for namespace in names():
        remove(namespace)
    ip("link", "delete", BRIDGE, check=False)
    if STATE.exists():
        subprocess.run(("rm", "-rf", "--one-file-system", str(STATE)), check=True)


app = typer.Typer(help="A Ray cluster of several hosts on this one machine.", no_args_is_help=True)


@app.command("up")
def _up(
    workers: Annotated[int, typer.Option(min=0, help="Hosts beside the head.")] = 2,
    redis: Annotated[bool, typer.Option(help="Let the head keep what it knows in Redis.")] = False,
) -> None:
    """Makes a cluster, which stays until `down`."""
    if obstacle := missing():
        sys.exit(obstacle)
    with FileLock(LOCK):
        if names():
            sys.exit("there are hosts already: `down` removes them")
        made = Cluster(uuid.uuid4().hex, redis)
        made.up(workers)
        made.put(INPUT, (ROOT / "samples" / "corpus.parquet").read_bytes())
        kept = {"token": made.token, "redis": redis, "workers": workers}
        with os.fdopen(os.open(KEPT, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump(kept, file)
    for host in (made.head, *made.workers, made.outside, made.store):
        typer.echo(f"{host.name:8} {host.address}")
    typer.echo(f"Ray {made.address}, {made.client_address}, {made.dashboard}; store {made.endpoint}")
    typer.echo(f"model {MODEL}, sample corpus {BUCKET}/{INPUT}")


@app.command("down")
def _down() -> None:
    """Removes all hosts and what runs on them."""
    down()


@app.command("status")
def _status() -> None:
    """Says which hosts there are, and how many processes each of them has."""
    for namespace in names():
        host = Host(namespace.removeprefix(PREFIX), "")
        typer.echo(f"{host.name:8} {len(host.processes())} processes")


@app.command("exec", context_settings={"ignore_unknown_options": True})
def _exec(
    host: Annotated[str, typer.Argument(help="head, worker1, ..., outside or store.")],
    words: Annotated[list[str], typer.Argument(help="The command, behind --.")],
) -> None:
    """Runs a command on a host, with its environment."""
    if not KEPT.exists():
        sys.exit("there is no cluster: `up` makes one")
    kept = json.loads(KEPT.read_text())
    there = Host(host, "", Cluster(kept["token"], kept["redis"]).settings)
    sys.exit(there.call(*words))


if __name__ == "__main__":
    app()
