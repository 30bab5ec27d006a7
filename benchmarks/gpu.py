"""Whether the engine is right on a GPU, and how fast, in one script of four minutes.

    python -m benchmarks.gpu [--seconds 240] [--rows 16384] [--json FILE] [--job]

Parts come in order of importance. One that fails says why, and the next one goes on; those for which no time is left
are named. Figures are printed as they come, and the file is written after each. All times end with an event of the
device or a wait for it. On a CPU the same parts run, with tiny sizes, so that a test can hold them: those figures mean
nothing. Neither Ray nor what the command line needs is imported without --job.
"""

import argparse
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import gpu_engine, gpu_passes
from benchmarks.gpu_bench import Bench, Record, Sizes

Part = Callable[[Bench, gpu_engine.Note], None]
PARTS: tuple[Part, ...] = (
    gpu_engine.check,
    gpu_passes.matrix_rates,
    gpu_engine.engine_base,
    gpu_passes.packed_forward,
    gpu_passes.difference_of_precisions,
    gpu_engine.agreement,
    gpu_engine.engine_shipped,
    gpu_engine.spans_on_device,
    gpu_engine.one_row_at_a_time,
    gpu_passes.transformers_loop,
    gpu_engine.embeddings,
    gpu_engine.engine_exact,
    gpu_engine.kernels,
    gpu_passes.attention_alone,
    gpu_passes.compiled,
)


def measure(bench: Bench, record: Record, parts: Sequence[Part] = PARTS) -> None:
    """Runs the parts one after the other, for as long as there is time."""
    record.note("machine", "torch", torch.__version__)
    record.note("machine", "device", _name(bench.device))
    record.note("machine", "python", platform.python_version())
    for part in parts:
        name, started = part.__name__, time.perf_counter()
        if bench.is_over:
            record.note(name, "skipped", "the time was spent")
            continue
        try:
            part(bench, partial(record.note, name))
        except Exception as error:
            # The machine is rare: whatever else can be measured is.
            record.note(name, "failed", f"{type(error).__name__}: {error}")
            record.note(name, "traceback", traceback.format_exc())
        record.note(name, "seconds", time.perf_counter() - started)


def main(words: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0, help="no part begins after so long")
    parser.add_argument("--rows", type=int, help="for each mean length")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--job", action="store_true", help="a whole job on Ray too, last")
    given = parser.parse_args(words)
    deadline = time.perf_counter() + given.seconds
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = Sizes() if device.type == "cuda" else Sizes.tiny()
    if given.rows:
        sizes = replace(sizes, rows=given.rows, shard_rows=max(min(sizes.shard_rows, given.rows // 4), 1))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, sizes, Path(folder), deadline=deadline)
        measure(bench, Record(given.json), (*PARTS, gpu_engine.job) if given.job else PARTS)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
