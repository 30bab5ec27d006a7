"""What the kinds of faults share: a corpus, a model, running clusters and stores, and a folder for every job."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from shutil import copytree

import orjson

from tests.chaos.clusters import SETTINGS, Cluster, cluster
from tests.chaos.corpus import FILES, Corpus
from tests.chaos.disks import small_disk
from tests.chaos.jobs import Job
from tests.chaos.servers import RestartableS3


@dataclass
class Bench:
    """One folder, one seed. What a kind of fault needs is started when it is asked for, and ends with the bench."""

    folder: Path
    model: Path
    corpus: Corpus
    random: Random
    stack: ExitStack
    _jobs: int = 0
    _clusters: int = 0

    @cached_property
    def cluster(self) -> Cluster:
        """A running cluster with room for the actors of two drivers at once."""
        return self.stack.enter_context(cluster(self._sockets(), cpus=4))

    @cached_property
    def two_nodes(self) -> Cluster:
        """A cluster whose second node has more to do than its first, which has room for one model actor only."""
        made = self.stack.enter_context(cluster(self._sockets(), cpus=1, second_cpus=2))
        made.add_second()
        made.wait_for_second()
        return made

    @cached_property
    def s3(self) -> RestartableS3:
        """A server whose bucket holds the corpus."""
        bucket = self.folder / "s3" / "bucket"
        copytree(self.corpus.folder, bucket / "in")
        server = RestartableS3(bucket.parent)
        self.stack.callback(server.stop)
        return server

    @cached_property
    def disk(self) -> Path:
        """A filesystem with little room."""
        return self.stack.enter_context(small_disk(self.folder / "disk"))

    def local_job(self) -> Job:
        """A job whose cluster starts and ends with it."""
        return self._job(self.folder, "ray.object_store_mb=128")

    def cluster_job(self, folder: Path | None = None, files: int = len(FILES)) -> Job:
        """A job on the running cluster, over the first so many files, its output in the bench's folder or another."""
        return self._on(self.cluster, folder or self.folder, files=files)

    def two_node_job(self) -> Job:
        """A job with a model actor on each of two nodes."""
        return self._on(self.two_nodes, self.folder, "pool.size=2")

    def s3_job(self) -> Job:
        """A job that reads from S3 and writes to S3."""
        server = self.s3.server
        job = self.cluster_job(server.folder / "bucket")
        storage = orjson.dumps(server.options).decode()
        job.settings = (*job.settings, f"corpus.storage={storage}", f"output.storage={storage}")
        job.inputs, job.target = [f"s3://bucket/in/{name}" for name in FILES], f"s3://bucket/{job.output.name}"
        return job

    def renew_clusters(self) -> None:
        """Whatever has happened to the clusters that run: later jobs get others."""
        for name in ("cluster", "two_nodes"):
            self.__dict__.pop(name, None)

    def _sockets(self) -> Path:
        self._clusters += 1
        return self.folder / f"r{self._clusters}"

    def _on(self, running: Cluster, folder: Path, *settings: str, files: int = len(FILES)) -> Job:
        job = self._job(folder, f"ray.address={running.address}", *settings, files=files)
        job.env = SETTINGS
        return job

    def _job(self, folder: Path, *settings: str, files: int = len(FILES)) -> Job:
        self._jobs += 1
        output = folder / f"out-{self._jobs}"
        return Job(
            inputs=[str(self.corpus.folder / name) for name in FILES[:files]],
            target=str(output),
            output=output,
            folder=self.folder,
            model=self.model,
            expected=self.corpus.expected(files),
            random=self.random,
            settings=settings,
        )


@contextmanager
def open_bench(folder: Path, model: Path, seed: int, rows: int = 364) -> Iterator[Bench]:
    """A bench in an empty folder; what it started ends with the block. `rows` is the size of each input file."""
    with ExitStack() as stack:
        yield Bench(folder, model, Corpus.make(folder / "in", model, rows), Random(seed), stack)
