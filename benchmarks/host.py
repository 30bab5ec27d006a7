"""What the engine does on the host beside the passes: CPU time a row by function, of two checkouts side by side.

    python -m benchmarks.host [--rows 2000] [--windows 512] [--each 5] [--against PATH]

With `--against`, the same runs over the code of another checkout: each in a process of its own, in turns, and medians
over the rounds are compared. The CPU time of the thread is counted, so that other work on the machine says little.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from actors.arrays import Ints, Longs
from actors.backends.base import PassRequest
from actors.backends.null import NullBackend
from actors.backends.pytorch.packed.attention import attention_for
from actors.backends.pytorch.packed.packed_pass import PackedPass
from actors.backends.pytorch.prepared_pass import run
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch
from actors.engine.collate import collate, stack
from actors.engine.decoding.answers import read_answers
from actors.engine.decoding.pooling import Pooling, embed_owners
from actors.engine.decoding.span_decoding import best_spans, candidates_wanted
from actors.engine.inference_task import Results, Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.engine.pass_stats import PassStats
from actors.models.loading import load_spec
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import write_model, write_questions

_HIDDEN = 384
_CPU = torch.device("cpu")
_QA, _EMBEDDING = QAParameters(), EmbeddingParameters()
_SHARING = 4
"""Tasks that share a pass where batches are stacked."""


@dataclass
class CpuClock:
    """CPU seconds of this thread, by the name of what it did."""

    seconds: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Counts what happens inside."""
        started = time.thread_time()
        yield
        self.seconds[name] += time.thread_time() - started  # type: ignore[assignment]


def _no_encoder() -> Any:
    """Gives zeros for every token, without a copy."""
    states = torch.zeros(1 << 20, 2)
    return lambda ids, *_: states[: len(ids)]


def measure(folder: Path, windows: int) -> Iterator[dict[str, float]]:
    """Microseconds a row by function, round after round, in passes of this many windows.

    Args:
        folder: of a model, with the rows in `rows.parquet`.
    """
    spec, table = load_spec(folder), pq.read_table(folder / "rows.parquet")
    questions, contexts = (table.column(name).combine_chunks() for name in ("question", "context"))
    pairs = prepare_pairs(spec, _QA, questions, contexts)[0].to_ipc()
    texts = prepare_texts(spec, _EMBEDDING, contexts)[0].to_ipc()
    while True:
        clock = CpuClock()
        _answer(clock, spec, pairs, windows)
        _embed(clock, spec, texts, windows)
        yield {name: seconds * 1e6 / len(table) for name, seconds in clock.seconds.items()}


def _answer(clock: CpuClock, spec: EncoderSpec, pairs: pa.Buffer, windows: int) -> None:
    backend, k = NullBackend(_HIDDEN), candidates_wanted(_QA.top_k, _QA.align_to_words)
    packed = PackedPass(_no_encoder(), nn.Identity(), attention_for(_CPU, torch.float32), Transfer(_CPU))
    with clock.of("Tokenized.from_ipc"):
        prepared = Tokenized.from_ipc(pairs)
    lengths = prepared.lengths(spec.pair.specials)
    kept = None
    for chosen in _passes(lengths, windows):
        with clock.of("collate"):
            batch = collate(prepared, spec.pair, chosen, spec.pad_id, spec.uses_type_ids)
        with clock.of("collate and pad"):
            again = collate(prepared, spec.pair, chosen, spec.pad_id, spec.uses_type_ids)
            _ = again.input_ids, again.attention_mask, again.token_type_ids
        with clock.of("packed pass without its encoder"):
            run(packed, PassRequest(batch, True), _CPU)
        shares = np.array_split(chosen, _SHARING)
        parts = [collate(prepared, spec.pair, share, spec.pad_id, spec.uses_type_ids) for share in shares]
        with clock.of(f"stack {_SHARING} batches"):
            _stack(parts, spec.pad_id)
        output = backend.forward(batch, True, None)
        if output.start_logits is None or output.end_logits is None:
            raise RuntimeError("the null backend gave no logits")
        with clock.of("best_spans"):
            found = best_spans(output.start_logits, output.end_logits, batch, k, _QA.max_answer_len)
        with clock.of("keep"):
            kept = type(found).empty(len(lengths), k) if kept is None else kept
            kept.put(chosen, found)
    if kept is None:
        raise RuntimeError("there were no windows")
    with clock.of("read_answers"):
        answers = read_answers(prepared, kept, _QA)
    wanted, results = Wanted(_QA), Results(answers, (), None, PassStats())
    with clock.of("to_table"):
        to_table(wanted_columns(wanted), results, wanted)


def _embed(clock: CpuClock, spec: EncoderSpec, texts: pa.Buffer, windows: int) -> None:
    prepared = Tokenized.from_ipc(texts)
    with clock.of("embed: plan"):
        pooling = Pooling.plan(prepared, _EMBEDDING, spec.single, beside_answers=False)
    lengths = prepared.lengths(spec.single.specials)
    total = np.zeros(len(lengths), dtype=np.float32)
    for chosen in _passes(lengths, windows):
        batch = collate(prepared, spec.single, chosen, spec.pad_id, spec.uses_type_ids)
        with clock.of("embed: weights"):
            weights = pooling.weights(chosen, batch)
            assert weights is not None
            total[chosen] = weights.sum(axis=-1)[:, 0]
    sums = np.ones((len(lengths), _HIDDEN), dtype=np.float32)
    with clock.of("embed: join"):
        embed_owners(prepared, sums, total, normalize=True)


def _stack(parts: Sequence[Batch], pad_id: int) -> None:
    # Older checkouts pad there.
    stack(*(parts, pad_id)[: len(signature(stack).parameters)])  # type: ignore[arg-type]


def _passes(lengths: Ints, windows: int) -> Iterator[Longs]:
    """Windows of every pass, the longest first, as the engine takes them."""
    order = np.argsort(-lengths, kind="stable")
    for first in range(0, len(order), windows):
        yield order[first : first + windows]


class Measured:
    """A process that measures the code of a checkout, a round at a time."""

    def __init__(self, checkout: Path, folder: Path, windows: int) -> None:
        # -P: the modules of this folder are no top-level ones.
        command = [sys.executable, "-P", __file__, "--child", str(folder), "--windows", str(windows)]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._given, self._told = _pipe(self._process.stdin), _pipe(self._process.stdout)

    def round(self) -> dict[str, float]:
        """Microseconds a row, by function."""
        self._given.write(b"\n")
        self._given.flush()
        figures: dict[str, float] = orjson.loads(self._told.readline())
        return figures

    def close(self) -> None:
        """Ends the process."""
        self._given.close()
        self._process.wait()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream


def _serve(folder: Path, windows: int) -> None:
    rounds = measure(folder, windows)
    for _ in sys.stdin:
        sys.stdout.buffer.write(orjson.dumps(next(rounds)) + b"\n")
        sys.stdout.buffer.flush()


def main(
    rows: Annotated[int, typer.Option(min=1)] = 2000,
    windows: Annotated[int, typer.Option(min=_SHARING, help="Of a pass.")] = 512,
    each: Annotated[int, typer.Option(min=1, help="Questions to a passage.")] = 5,
    rounds: Annotated[int, typer.Option(min=1)] = 9,
    against: Annotated[Path | None, typer.Option(help="Another checkout to compare with.")] = None,
    child: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Prints microseconds a row, by function."""
    if child is not None:
        _serve(child, windows)
        return
    checkouts = {"here": Path(__file__).parents[1]} | ({} if against is None else {"there": against.resolve()})
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        write_model(Path(name), layers=1, dim=64)
        write_questions(Path(name) / "rows.parquet", rows, each)
        measured = {key: Measured(path, Path(name), windows) for key, path in checkouts.items()}
        for process in measured.values():
            stack.callback(process.close)
            process.round()  # what is imported and built once
        for _ in range(rounds):
            for key, process in measured.items():
                figures[key].append(process.round())
    table = Table(
        "function", *(f"µs a row, {key}" for key in checkouts), *(["there / here"] * (len(checkouts) - 1)), box=None
    )
    for function in figures["here"][0]:
        each_here = [statistics.median(values[function] for values in figures[key]) for key in checkouts]
        ratio = [f"{each_here[1] / each_here[0]:.2f}"] if len(each_here) > 1 else []
        table.add_row(function, *(f"{number:.2f}" for number in each_here), *ratio)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
