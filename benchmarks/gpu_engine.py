"""The whole engine on a GPU: is it right, how fast, and where does the time go?"""

import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actors.arrays import Floats
from actors.backends.base import PassOutput, PassRequest
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.batcher import WindowQueue
from actors.engine.decoding.answers import Answers
from actors.engine.engine import DeviceTurn, Engine
from actors.engine.inference_task import InferenceTask
from actors.engine.passes import Pass, PassInFlight, Share
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import pairs_of_length
from benchmarks.gpu_bench import HALVES, MEANS, QA, Bench, sample_rows

Note = Callable[[str, object], None]
EMBEDDING = EmbeddingParameters(max_seq_len=256)
_LEAST_EQUAL, _LEAST_COSINE = {"float32": 0.98, "float16": 0.9, "bfloat16": 0.7}, 0.99


class TimedEngine(Engine):
    """Adds up where the time of the threads that call goes, and what comes back from the device."""

    def __init__(self, backend: TorchBackend, folder: Path, batching: BatchingParameters | None = None) -> None:
        """Takes a backend that may have served others."""
        super().__init__(backend, load_spec(folder), batching or BatchingParameters())
        self.spent: Counter[str] = Counter()
        self.passes: list[Pass] = []
        self.watch(self.passes.append)

    def forget(self) -> None:
        """What was added up, not what was learnt."""
        self.spent.clear()
        self.passes.clear()

    def choose(self, schedule: WindowQueue, quantum: float, task: InferenceTask | None = None) -> int:
        """See `Engine.choose`."""
        with self._timed("choose"):
            return super().choose(schedule, quantum, task)

    def submit(self, shares: Sequence[Share], turn: DeviceTurn, *, online: bool = False) -> PassInFlight | None:
        """See `Engine.submit`."""
        with self._timed("collate, prepare and submit"):
            return super().submit(shares, turn, online=online)

    def wait(self, flight: PassInFlight) -> PassOutput | None:
        """See `Engine.wait`."""
        with self._timed("wait for the device"):
            output = super().wait(flight)
        if output is not None:
            self.spent["bytes back"] += _bytes_back(output, flight.tokens)
        return output

    def keep(self, flight: PassInFlight, output: PassOutput) -> list[Exception | None]:
        """See `Engine.keep`."""
        with self._timed("keep"):
            return super().keep(flight, output)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - started  # type: ignore[assignment]


class TimedBackend(TorchBackend):
    """Adds up what it takes to prepare passes, which is part of submitting them."""

    preparing = 0.0

    def submit(self, request: PassRequest) -> Any:
        """See `TorchBackend.submit`."""
        started = time.perf_counter()
        try:
            return super().submit(request)
        finally:
            self.preparing += time.perf_counter() - started


def _bytes_back(output: PassOutput, tokens: int) -> int:
    found = output.candidates
    if found is not None:
        return found.start.nbytes + found.end.nbytes + found.score.nbytes + found.null_score.nbytes
    logits = 0 if output.start_logits is None else 2 * 4 * tokens
    return logits + (0 if output.pooled is None else output.pooled.nbytes)


def check(bench: Bench, note: Note) -> None:
    """The engine on the device against the engine on the CPU, on rows that people wrote, in every precision."""
    questions, contexts = sample_rows(bench.sizes.check_rows)
    spec = load_spec(bench.shipped)
    pairs, _ = prepare_pairs(spec, QA, questions, contexts)
    texts, _ = prepare_texts(spec, EMBEDDING, contexts)
    on_cpu = TorchBackend(load_model(bench.shipped, with_qa_head=True), ModelParameters(device="cpu"))
    reference = TimedEngine(on_cpu, bench.shipped)
    expected, vectors = reference.answer(pairs, QA).answers, reference.embed(texts, EMBEDDING).embeddings
    assert expected is not None
    assert vectors is not None
    errors = []
    for dtype in ("float32", *HALVES):
        try:
            started = time.perf_counter()
            backend = bench.backend(bench.shipped, dtype)
            note(f"{dtype}, layout", backend.layout.value)
            note(f"{dtype}, seconds to load it and try a pass", time.perf_counter() - started)
            engine = TimedEngine(backend, bench.shipped)
            found, mine = engine.answer(pairs, QA).answers, engine.embed(texts, EMBEDDING).embeddings
            assert found is not None
            assert mine is not None
            equal, cosine = _compare(note, dtype, (found, expected), (mine, vectors))
            agrees = equal >= _LEAST_EQUAL[dtype] and cosine >= _LEAST_COSINE
            note(f"{dtype}, verdict", "agrees" if agrees else "DIFFERS")
            note(f"{dtype}, seconds of the first passes", [round(each.seconds, 6) for each in engine.passes][:8])
        except Exception as error:
            # One precision may work where another does not.
            note(f"{dtype}, failed", traceback.format_exc())
            errors.append(error)
    if errors:
        raise errors[0]


def _compare(
    note: Note, name: str, answers: tuple[Answers, Answers], vectors: tuple[Floats, Floats]
) -> tuple[float, float]:
    found, expected = answers
    equal = float(((found.start == expected.start) & (found.end == expected.end)).mean())
    cosine = float(cosines(*vectors).min())
    note(f"{name}, share of equal spans", equal)
    note(f"{name}, largest difference of scores", float(np.abs(found.score - expected.score).max()))
    note(f"{name}, least cosine of embeddings", cosine)
    return equal, cosine


def cosines(left: Floats, right: Floats) -> Floats:
    """[R] of two times R vectors."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    found: Floats = (left * right).sum(axis=1) / np.maximum(lengths, 1e-30)
    return found


def engine_base(bench: Bench, note: Note) -> None:
    """DistilBERT-base's shape in half precision, for three mean lengths."""
    _engine_by_length(bench, note, bench.base, HALVES)


def engine_shipped(bench: Bench, note: Note) -> None:
    """The shape of MiniLM, which is the model that ships."""
    _engine_by_length(bench, note, bench.shipped, HALVES[:1])


def engine_exact(bench: Bench, note: Note) -> None:
    """The same in float32, with TF32 off, so without the kernel for windows of any length."""
    _engine_by_length(bench, note, bench.base, ("float32",), (180,))


def _engine_by_length(
    bench: Bench, note: Note, folder: Path, dtypes: Sequence[str], means: Sequence[int] = MEANS
) -> None:
    for dtype in dtypes:
        backend = TimedBackend(bench.module(folder, dtype), bench.parameters(dtype))
        for mean in means:
            if bench.is_over:
                return
            _measure(bench, _under(note, f"{dtype}, {mean}"), folder, dtype, backend, mean)


def _under(note: Note, name: str) -> Note:
    return lambda figure, value: note(f"{name}, {figure}", value)


def _measure(bench: Bench, note: Note, folder: Path, dtype: str, backend: TimedBackend, mean: int) -> None:
    spec, shards = bench.windows(folder, mean)
    lengths = [shard.lengths(spec.pair.specials) for shard in shards]
    rest = np.concatenate(lengths[1:])
    engine = TimedEngine(backend, folder)
    first = bench.seconds(lambda: engine.answer(shards[0], QA))
    note("windows and mean tokens of the first shard", [len(lengths[0]), round(float(lengths[0].mean()), 1)])
    note("share of the rate, first shard", bench.share(folder, lengths[0], first, dtype))
    engine.forget()
    backend.preparing = 0.0
    wall = bench.seconds(lambda: _one_by_one(engine, shards[1:]))
    note("share of the rate, from the second shard on", bench.share(folder, rest, wall, dtype))
    note("windows/s", len(rest) / wall)
    note("tokens/s", float(rest.sum()) / wall)
    device = sum(each.seconds for each in engine.passes)
    note("share of the time that the device idles, by its events", 1 - device / wall)
    note("passes, and their mean tokens", [len(engine.passes), round(float(rest.sum()) / len(engine.passes))])
    spent = {name: seconds for name, seconds in engine.spent.items() if name != "bytes back"}
    for name, seconds in spent.items():
        note(f"share of the calling thread's time: {name}", seconds / wall)
    note("share of the calling thread's time: of that, prepare and submit", backend.preparing / wall)
    note("share of the calling thread's time: merge and write up", 1 - sum(spent.values()) / wall)
    wall = bench.seconds(lambda: _in_two_threads(engine, shards[1:]))
    note("share of the rate, two shards at a time", bench.share(folder, rest, wall, dtype))
    note("windows/s, two shards at a time", len(rest) / wall)


def _one_by_one(engine: Engine, shards: Sequence[Tokenized]) -> None:
    for shard in shards:
        engine.answer(shard, QA)


def _in_two_threads(engine: Engine, shards: Sequence[Tokenized]) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda shard: engine.answer(shard, QA), shards))


def one_row_at_a_time(bench: Bench, note: Note) -> None:
    """Passes of a single window, against the learnt size, through the same engine."""
    dtype = HALVES[0]
    _, shards = bench.windows(bench.base, 180)
    backend, rows = bench.backend(bench.base, dtype), np.arange(min(512, bench.sizes.shard_rows), dtype=np.int32)
    some = shards[0].of_owners(rows)
    single = TimedEngine(backend, bench.base, BatchingParameters(fixed_windows=1))
    one = bench.seconds(lambda: single.answer(some, QA))
    batched = TimedEngine(backend, bench.base)
    batched.answer(shards[0], QA)
    many = bench.seconds(lambda: batched.answer(shards[-1], QA))
    note("rows/s, one row a pass", len(rows) / one)
    note("rows/s, learnt passes", len(shards[-1].row_owner) / many)
    note("batched / one at a time", len(shards[-1].row_owner) / many * one / len(rows))


def spans_on_device(bench: Bench, note: Note) -> None:
    """Spans found on the device against spans found on the host."""
    _, shards = bench.windows(bench.base, 180)
    answers = []
    for name, searches in (("device", True), ("host", False)):
        backend = bench.backend(bench.base, HALVES[0], searches)
        engine = TimedEngine(backend, bench.base)
        answers.append(engine.answer(shards[0], QA).answers)
        engine.forget()
        wall = bench.seconds(partial(_one_by_one, engine, shards[1:]))
        windows = sum(each.size.windows for each in engine.passes)
        note(f"on the {name}: windows/s", windows / wall)
        note(f"on the {name}: share of the calling thread's time in keep", engine.spent["keep"] / wall)
        note(f"on the {name}: bytes copied back for a window", engine.spent["bytes back"] / windows)
        note(f"on the {name}: device seconds", sum(each.seconds for each in engine.passes))
    mine, theirs = answers
    assert mine is not None
    assert theirs is not None
    note("share of equal spans", float(((mine.start == theirs.start) & (mine.end == theirs.end)).mean()))


def kernels(bench: Bench, note: Note) -> None:
    """What the device does by the profiler: how much of the wall time kernels run, and which."""
    _, shards = bench.windows(bench.base, 180)
    engine = TimedEngine(bench.backend(bench.base, HALVES[0]), bench.base)
    engine.answer(shards[0], QA)
    activity = torch.profiler.ProfilerActivity
    kinds = [activity.CUDA] if bench.device.type == "cuda" else [activity.CPU]
    with torch.profiler.profile(activities=kinds) as profile:
        wall = bench.seconds(lambda: engine.answer(shards[-1], QA))
    field = "self_device_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
    times = {each.key: getattr(each, field) / 1e6 for each in profile.key_averages()}
    note("share of the wall time that kernels run, while profiled", sum(times.values()) / wall)
    for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:14]:
        note(f"share of the kernels' time: {name[:100]}", seconds / max(sum(times.values()), 1e-9))


def agreement(bench: Bench, note: Note) -> None:
    """Answers and embeddings of the model that ships in half precision, against its own in float32, on the device."""
    questions, contexts = sample_rows(bench.sizes.sample_rows)
    spec = load_spec(bench.shipped)
    pairs, _ = prepare_pairs(spec, QA, questions, contexts)
    texts, _ = prepare_texts(spec, EMBEDDING, contexts)

    def results(dtype: str) -> tuple[Answers, Floats]:
        engine = TimedEngine(bench.backend(bench.shipped, dtype), bench.shipped)
        answers, vectors = engine.answer(pairs, QA).answers, engine.embed(texts, EMBEDDING).embeddings
        assert answers is not None
        assert vectors is not None
        return answers, vectors

    exact, vectors = results("float32")
    for dtype in HALVES:
        answers, mine = results(dtype)
        _compare(note, dtype, (answers, exact), (mine, vectors))


def embeddings(bench: Bench, note: Note) -> None:
    """Embeddings, and sentence-transformers' encode on the same texts, where that is installed."""
    spec, _ = bench.windows(bench.shipped, 180)
    _, texts = pairs_of_length(180, bench.sizes.rows)
    prepared, _ = prepare_texts(spec, EMBEDDING, texts)
    engine = TimedEngine(bench.backend(bench.shipped, HALVES[0]), bench.shipped)
    engine.embed(prepared, EMBEDDING)
    wall = bench.seconds(lambda: engine.embed(prepared, EMBEDDING))
    note("engine, texts/s without tokenising", len(texts) / wall)
    wall += bench.seconds(lambda: prepare_texts(spec, EMBEDDING, texts))
    note("engine, texts/s, tokenised before in one process", len(texts) / wall)
    try:
        library = import_module("sentence_transformers")
    except ImportError:
        note("sentence-transformers", "not installed here, so not measured")
        return
    models = library.models
    transformer = models.Transformer(str(bench.shipped), max_seq_length=EMBEDDING.max_seq_len)
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), "mean")
    theirs = library.SentenceTransformer(modules=[transformer, pooling], device=str(bench.device))
    theirs = theirs.to(getattr(torch, HALVES[0]))
    words = texts.to_pylist()
    for size in (32, 256):
        theirs.encode(words[:512], batch_size=size, show_progress_bar=False)
        wall = bench.seconds(partial(theirs.encode, words, batch_size=size, show_progress_bar=False))
        note(f"sentence-transformers, texts/s, batches of {size}", len(words) / wall)
    few = min(256, len(words))
    mine = engine.embed(prepare_texts(spec, EMBEDDING, texts[:few])[0], EMBEDDING).embeddings
    assert mine is not None
    vectors = np.asarray(theirs.encode(words[:few], show_progress_bar=False), dtype=np.float32)
    note("least cosine of the engine's and sentence-transformers' vectors", float(cosines(mine, vectors).min()))


def job(bench: Bench, note: Note) -> None:
    """A whole job on Ray, from Parquet to Parquet, between its second commit and its last."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not before here: they bring Ray, which other parts do without.
    from pipelines.bench.workers.whole_job import config_of, run_job
    from pipelines.job.ray_cluster import connected

    questions, contexts = pairs_of_length(180, bench.sizes.job_rows)
    ids = pa.array([f"row-{number}" for number in range(len(questions))])
    corpus = bench.folder / "job.parquet"
    pq.write_table(pa.table({"id": ids, "question": questions, "context": contexts}), corpus)
    # As the job takes the device: where there is a GPU, Ray gives it to the actor.
    keys = {"model.name": bench.base, "qa.max_seq_len": 384, "qa.doc_stride": 128}
    keys |= {"model.dtype": HALVES[0], "corpus.shard_rows": bench.sizes.shard_rows}
    config = config_of("answer", keys)
    with connected(config.ray):
        done = run_job(corpus, bench.folder / "out", config)
    note("seconds from the first shard's begin to the last commit", done.seconds)
    note("tokens/s between the second commit and the last", done.steady_tokens_per_second or math.nan)
