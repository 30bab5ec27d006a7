"""A runtime of another package that tells a file of its passes: which node computed how many windows, and when."""

import os
import sys
import time
from pathlib import Path

from actors.arrays import Floats
from actors.backends.base import Backend, BatchLayout, PassOutput, Runtime, SynchronousBackend
from actors.backends.null import RUNTIME as NULL
from actors.batch import Batch
from actors.parameters import ModelParameters

PASSES = "passes"
"""The file in the model's folder: a line for each pass of a worker, with its node, its process and the windows."""
SECONDS = 0.1
"""That a worker sleeps for each window of a pass, so that a job lasts however fast the machine is."""


class CountingBackend(SynchronousBackend):
    """The null runtime's numbers, slowly."""

    device, memory_limit, layout = "cpu", None, BatchLayout.PADDED

    def __init__(self, inner: Backend, folder: Path) -> None:
        self._inner = inner
        self._passes = folder / PASSES

    @property
    def hidden_size(self) -> int:
        return self._inner.hidden_size

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        output = self._inner.forward(batch, want_spans, pool_weights, want_hidden)
        if "default_worker" in sys.argv[0]:  # not in the driver, which tries the model before it plans
            windows = len(batch.input_ids)
            time.sleep(SECONDS * windows)
            with self._passes.open("a") as passes:
                passes.write(f"{_node()} {os.getpid()} {windows}\n")
        return output


def passes_in(folder: Path) -> list[tuple[str, int, int]]:
    """Node, process and windows of every pass so far."""
    path = folder / PASSES
    lines = path.read_text().splitlines() if path.exists() else []
    return [(node, int(process), int(windows)) for node, process, windows in map(str.split, lines)]


def _node() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> CountingBackend:
    return CountingBackend(NULL.load(folder, model, with_qa_head), folder)


RUNTIME = Runtime("counting", _load, weights=NULL.weights, outputs=NULL.outputs, dtypes=NULL.dtypes)
