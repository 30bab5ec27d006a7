"""One round: everything that is compared, one after another, on rows of the round's own."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from actors.backends.precision import EXACT
from benchmarks.corpus import write_corpus, write_texts
from benchmarks.offline.limits import EMBEDDING, PIPELINE
from benchmarks.offline.plain_ray_data import plain_seconds
from benchmarks.offline.whole_job import run_job
from benchmarks.offline.worker import Worker, working

PIPELINE_WINDOWS = (1, 8, 32)
"""Windows of a batch of transformers' pipeline."""
_ENCODED = 32
_PEER = Path(__file__).with_name("peer_worker.py")


class Timed(StrEnum):
    """What takes the time, by its name in the tables."""

    FIRST_PASSES = "engine, fresh: in the passes"
    FIRST = "engine, fresh: tokens to answers"
    FIRST_TEXTS = "engine, fresh: texts to answers"
    AGAIN_PASSES = "engine, again: in the passes"
    AGAIN = "engine, again: tokens to answers"
    AGAIN_TEXTS = "engine, again: texts to answers"
    FAST_PASSES = "engine, fast: in the passes"
    FAST_TEXTS = "engine, fast: texts to answers"
    BY_HAND = "loop by hand, packed, no answers"
    JOB_PASSES = "job: in the passes"
    JOB = "job: Parquet to Parquet"
    JOB_STEADY = "job: from its second commit on"
    LARGE_STEADY = "large job: from its second commit on"
    PLAIN = "plain Ray Data, batches of 32"
    PADDED_32 = "padded, batches of 32, no answers"
    PADDED_1 = "padded, one by one, no answers"
    PIPELINE_1 = "transformers' pipeline, 1 a batch"
    PIPELINE_8 = "transformers' pipeline, 8 a batch"
    PIPELINE_32 = "transformers' pipeline, 32 a batch"

    @classmethod
    def pipeline(cls, windows: int) -> "Timed":
        """The pipeline at a batch size."""
        return cls[f"PIPELINE_{windows}"]


class Embedded(StrEnum):
    """What embeds texts."""

    FIRST = "embed, fresh engine"
    AGAIN = "embed, again"
    ENCODE = "sentence-transformers' encode"


@dataclass
class Round:
    """What was measured."""

    rows: int
    windows: int
    tokens: int
    """Of the windows, padding left out."""
    flops: float
    """What there is to compute for them."""
    sgemm: list[float] = field(default_factory=list)
    """Floating-point operations per second of a large sgemm, four times in the round."""
    fastest: list[float] = field(default_factory=list)
    """The same of the fastest product that is known."""
    seconds: dict[Timed, float] = field(default_factory=dict)
    """For all rows."""
    embedding: dict[Embedded, float] = field(default_factory=dict)
    """Seconds for all texts, of which there are as many as rows."""
    equal_answers: float | None = None
    """Share of rows whose answer has the same start and end as that of transformers' pipeline, the least over its
    batch sizes."""
    equal_fast_answers: float | None = None
    """Share of rows whose answer is the same in the fast precision; None where none is faster than float32."""
    least_cosine: float | None = None
    """Of any text, between its vector and that of sentence-transformers."""
    shards: int = 0
    """Of the job."""
    batches: dict[str, float] = field(default_factory=dict)
    """Mean windows of a pass that the engine chose, by the length of its longest window."""

    @property
    def floor(self) -> float:
        """Seconds for all rows at the speed of the sgemm."""
        return self.flops / float(np.median(self.sgemm))

    @property
    def fastest_floor(self) -> float:
        """Seconds for all rows at the speed of the fastest product."""
        return self.flops / float(np.median(self.fastest))


@dataclass(frozen=True)
class Slice:
    """The input of a round."""

    folder: Path
    """The round's own; everything that is written lies there too."""
    rows: int

    @property
    def pairs(self) -> Path:
        """Questions and passages."""
        return self.folder / "pairs.parquet"

    @property
    def texts(self) -> Path:
        """Texts to embed."""
        return self.folder / "texts.parquet"


def write_slices(folder: Path, rows: int, rounds: int) -> list[Slice]:
    """Rows for so many rounds, of which no two have any in common."""
    pairs, texts = folder / "pairs.parquet", folder / "texts.parquet"
    write_corpus(pairs, rows * rounds)
    write_texts(texts, rows * rounds)
    slices = [Slice(folder / f"round-{number}", rows) for number in range(rounds)]
    for number, one in enumerate(slices):
        one.folder.mkdir()
        for whole, part in ((pairs, one.pairs), (texts, one.texts)):
            pq.write_table(pq.read_table(whole).slice(number * rows, rows), part)
    return slices


@dataclass(frozen=True)
class Contenders:
    """All who are compared, with their models loaded. They take turns, so none works while another is timed."""

    model: Path
    threads: int
    yardsticks: Worker
    engine: Worker
    fast: Worker
    """The same in the fastest precision."""
    peers: Worker | None
    large: Path | None = None
    """Questions and passages of a large job."""

    def measure(self, given: Slice) -> Round:
        """One round."""
        corpus = str(given.pairs)
        measured = Round(given.rows, **self.yardsticks.ask("size", corpus=corpus))
        self._sgemm(measured)
        spans = self._engine(measured, corpus)
        measured.seconds[Timed.BY_HAND] = self.yardsticks.ask("by_hand", corpus=corpus)["seconds"]
        self._sgemm(measured)
        self._pipeline(measured, corpus, spans)
        self._sgemm(measured)
        self._ray(measured, given)
        for windows, timed in ((32, Timed.PADDED_32), (1, Timed.PADDED_1)):
            measured.seconds[timed] = self.yardsticks.ask("padded", corpus=corpus, windows=windows)["seconds"]
        self._embed(measured, given)
        self._sgemm(measured)
        return measured

    def _sgemm(self, measured: Round) -> None:
        rates = self.yardsticks.ask("floor")
        measured.sgemm.append(rates["sgemm"])
        measured.fastest.append(rates["fastest"])

    def _engine(self, measured: Round, corpus: str) -> Any:
        answer = self.engine.ask("answer", corpus=corpus)
        first, again, seconds = answer["first"], answer["again"], measured.seconds
        seconds[Timed.FIRST_PASSES], seconds[Timed.AGAIN_PASSES] = first["passes"], again["passes"]
        seconds[Timed.FIRST], seconds[Timed.AGAIN] = first["tokens"], again["tokens"]
        seconds[Timed.FIRST_TEXTS], seconds[Timed.AGAIN_TEXTS] = first["texts"], again["texts"]
        measured.batches = answer["batches"]
        if self.fast.versions["type"] != EXACT:
            fast = self.fast.ask("answer", corpus=corpus)
            seconds[Timed.FAST_PASSES], seconds[Timed.FAST_TEXTS] = fast["again"]["passes"], fast["again"]["texts"]
            measured.equal_fast_answers = _equal(answer["spans"], fast["spans"])
        return answer["spans"]

    def _pipeline(self, measured: Round, corpus: str, spans: Any) -> None:
        if self.peers is None:
            return
        shares = []
        for windows in PIPELINE_WINDOWS:
            answer = self.peers.ask("answer", corpus=corpus, windows=windows, parameters=PIPELINE)
            measured.seconds[Timed.pipeline(windows)] = answer["seconds"]
            shares.append(_equal(spans, answer["spans"]))
        measured.equal_answers = min(shares)

    def _ray(self, measured: Round, given: Slice) -> None:
        seconds = measured.seconds
        job = run_job(given.pairs, given.folder / "job", self.model, {"model.threads": self.threads})
        measured.shards = job.shards
        seconds[Timed.JOB], seconds[Timed.JOB_PASSES] = job.seconds, job.passes
        steady = {Timed.JOB_STEADY: job.steady_tokens_per_second}
        seconds[Timed.PLAIN] = plain_seconds(given.pairs, given.folder / "plain", self.model, self.threads)
        if self.large is not None:
            large = run_job(self.large, given.folder / "large", self.model, {"model.threads": self.threads})
            steady[Timed.LARGE_STEADY] = large.steady_tokens_per_second
        # The rate for as many tokens as all others have computed.
        seconds |= {timed: measured.tokens / rate for timed, rate in steady.items() if rate is not None}

    def _embed(self, measured: Round, given: Slice) -> None:
        ours, theirs = given.folder / "ours.npy", given.folder / "theirs.npy"
        answer = self.engine.ask("embed", corpus=str(given.texts), vectors=str(ours))
        for embedded, which in ((Embedded.FIRST, "first"), (Embedded.AGAIN, "again")):
            measured.embedding[embedded] = answer[which]["texts"]
        if self.peers is None or "encode" not in self.peers.calls:
            return
        request = {"corpus": str(given.texts), "windows": _ENCODED, "vectors": str(theirs)}
        measured.embedding[Embedded.ENCODE] = self.peers.ask("encode", **request)["seconds"]
        measured.least_cosine = float((np.load(ours) * np.load(theirs)).sum(axis=1).min())


def _equal(some: Sequence[object], others: Sequence[object]) -> float:
    """Share of equal ones."""
    equal = [ours == theirs for ours, theirs in zip(some, others, strict=True)]
    return sum(equal) / len(equal)


@contextmanager
def contenders(model: Path, threads: int, peers_python: Path | None, large: Path | None) -> Iterator[Contenders]:
    """Loads the model in a process of each kind.

    Args:
        peers_python: the interpreter of an environment with torch, pyarrow and transformers 4.57.6; None leaves its
            pipeline and sentence-transformers out.
    """
    limits = [str(model), str(threads)]
    with ExitStack() as stack:
        own = [
            stack.enter_context(working([sys.executable, "-m", f"benchmarks.offline.{name}", *limits, *further]))
            for name, *further in (("yardstick_worker",), ("engine_worker", "exact"), ("engine_worker", "fast"))
        ]
        peers = None
        if peers_python is not None:
            words = [str(peers_python), "-I", str(_PEER), *limits, str(EMBEDDING.max_seq_len)]
            peers = stack.enter_context(working(words))
        yield Contenders(model, threads, own[0], own[1], own[2], peers, large)
