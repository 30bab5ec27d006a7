"""A cluster with a service and jobs on it, as a user starts them, and what became of the jobs' rows."""

import io
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage.filesystem import resolve
from tests.cluster.host import STATE, Host, Running
from tests.cluster.hosts import BUCKET, MODEL, Cluster, cluster
from tests.pipelines.jobs import SAMPLES, same_answer

PORT = 8000
WORKER_CPUS = 3
"""Of a worker, as Ray counts them: the replicas of both workers, a gateway and the stages of jobs find room on one."""
_SHARD_ROWS = 4
_SAMPLES = 160
_PATIENCE = 900.0
_LOOK_SECONDS = 0.3
REPLICAS = 2


@dataclass(frozen=True)
class Job:
    """A job that runs, or has run, with its driver on one of the hosts."""

    name: str
    host: Host
    command: Running

    @property
    def output(self) -> str:
        """URL of its output."""
        return f"{BUCKET}/{self.name}"

    @property
    def is_running(self) -> bool:
        """Whether its command has not ended yet."""
        return self.command.process.poll() is None

    def events(self, event: str) -> list[dict[str, Any]]:
        """Records of its log, such as those of "shard committed"."""
        lines = self.host.read(f"/tmp/{self.name}.jsonl").split(b"\n")[:-1]
        return [record for line in lines if (record := json.loads(line))["event"] == event]

    def committed(self) -> int:
        """Shards that it has committed."""
        return len(self.events("shard committed"))

    def wait_for(self, shards: int) -> None:
        """Returns once it has committed so many."""
        deadline = time.monotonic() + _PATIENCE
        while self.committed() < shards:
            assert self.command.process.poll() is None, f"ended early:\n{self.command.said()}"
            assert time.monotonic() < deadline, self.command.said()
            time.sleep(_LOOK_SECONDS)

    def wait(self) -> None:
        """Returns once it has come to its end, with exit code 0."""
        code, said = self.command.end(_PATIENCE)
        assert code == 0, said


@dataclass
class Bench:
    """A running cluster with a service, a corpus in the store, and the rows of jobs that nothing disturbed."""

    cluster: Cluster
    corpus: str
    rows: int
    service: Running = field(init=False)
    """The command that started the service last."""
    _jobs: int = 0
    _undisturbed: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Rows by runtime and id."""

    def start_service(self, host: Host, *models: str) -> Running:
        """`spanmill serve` on one of the hosts, when it is ready; of the model that ships, if none is named."""
        named = (word for model in models or (MODEL,) for word in ("--model", model))
        words = ("spanmill", "serve", "--host", "0.0.0.0", "--port", str(PORT), *named)
        keys = ("ray.address=auto", "model.threads=1", f"replicas.min={REPLICAS}", f"replicas.max={REPLICAS}")
        # Nothing is refused here for being slow, however busy the machine is.
        more = ("gateway.replicas=2", "sharing.queue_ms=120000", "limits.timeout_ms=120000")
        service = host.start(STATE / "serve.log", *words, *_set(*keys, *more))
        service.wait_until_says("ready: ", _PATIENCE)
        self.service = service
        return service

    def start_job(
        self, host: Host, *words: str, keys: Sequence[str] = (), before: Sequence[str] = (), again: str = ""
    ) -> Job:
        """`spanmill answer` on one of the hosts, over the corpus.

        Args:
            words: further ones of the command.
            keys: those of --set.
            before: words that stand before the command.
            again: name of a job that goes on; a new one, if empty.
        """
        self._jobs += not again
        name = again or f"out{self._jobs}"
        fixed = ("spanmill", "answer", self.corpus, f"{BUCKET}/{name}", "--model", MODEL, "--log", f"/tmp/{name}.jsonl")
        own = (f"corpus.shard_rows={_SHARD_ROWS}", "model.threads=1")
        command = host.start(STATE / f"{name}.log", *before, *fixed, *_set(*own), *words, *_set(*keys))
        return Job(name, host, command)

    def undisturbed_rows(self, backend: str = "torch") -> dict[str, dict[str, Any]]:
        """The rows by id of a job that nothing disturbs, with a model in this runtime; it runs when first asked for."""
        if backend not in self._undisturbed:
            job = self.start_job(self.cluster.workers[-1], keys=("ray.address=auto", f"model.backend={backend}"))
            job.wait()
            self._undisturbed[backend] = {row["id"]: row for row in self.read(job.output)}
            assert len(self._undisturbed[backend]) == self.rows
        return self._undisturbed[backend]

    def rows_equal(self, output: str, backend: str = "torch") -> bool:
        """Whether an output has the rows of an undisturbed job, each once."""
        found, expected = self.read(output), self.undisturbed_rows(backend)
        if sorted(row["id"] for row in found) != sorted(expected):
            return False
        return all(same_answer(row, expected[row["id"]]) for row in found)

    def read(self, output: str) -> list[dict[str, Any]]:
        """All rows of an output."""
        store = resolve(output, self.cluster.storage)
        store.fs.invalidate_cache()
        names = [name for name in store.fs.find(store.path("")) if Path(name).name.startswith("part-")]
        return [row for name in names for row in pq.read_table(io.BytesIO(store.fs.cat_file(name))).to_pylist()]

    def url(self, host: Host) -> str:
        """Of the service's HTTP on a host."""
        return f"http://{host.address}:{PORT}"

    def running_replicas(self) -> dict[str, str]:
        """Replicas of the model that run, by Ray Serve's own account: their ids and the addresses of their hosts.

        Empty while nobody can tell.
        """
        headers = {"Authorization": f"Bearer {self.cluster.token}"}
        try:
            response = httpx2.get(f"{self.cluster.dashboard}/api/serve/applications/", headers=headers, timeout=10)
            application = response.json()["applications"]["spanmill"]
        except (httpx2.TransportError, ValueError, KeyError):
            return {}
        replicas = application["deployments"]["model"]["replicas"]
        return {one["replica_id"]: one["node_ip"] for one in replicas if one["state"] == "RUNNING"}

    def wait_for_replicas(self, without: Collection[str] = ()) -> None:
        """Returns once all replicas run, and none of those of these ids is among them."""
        deadline = time.monotonic() + _PATIENCE
        while len(found := self.running_replicas()) != REPLICAS or not found.keys().isdisjoint(without):
            assert time.monotonic() < deadline, f"{found} run"
            time.sleep(_LOOK_SECONDS)


@contextmanager
def bench(repeats: int = 3, workers: int = 2) -> Iterator[Bench]:
    """A fault-tolerant cluster with a corpus, and the rows of an undisturbed job over it.

    Args:
        repeats: how often the corpus holds the samples with the shortest passages, with other ids each time.
        workers: beside the head.
    """
    with cluster(workers, fault_tolerant=True, cpus=WORKER_CPUS) as made:
        table = pq.read_table(SAMPLES / "corpus.parquet")
        table = table.take(pc.sort_indices(pc.utf8_length(table["context"]))[:_SAMPLES])
        table = pa.concat_tables(
            table.set_column(0, "id", pc.binary_join_element_wise(table["id"], str(turn), "-"))
            for turn in range(repeats)
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        ready = Bench(made, made.put("in/corpus.parquet", sink.getvalue()), table.num_rows)
        ready.undisturbed_rows()
        yield ready


def _set(*keys: str) -> tuple[str, ...]:
    return tuple(word for key in keys for word in ("--set", key))
