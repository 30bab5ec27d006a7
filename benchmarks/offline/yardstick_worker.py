"""What the engine is held against: a large sgemm, a hand-written loop over its own packed forward, padded batches.

    python -m benchmarks.offline.yardstick_worker MODEL THREADS

A process of its own, which computes in its main thread only: a second thread that computes has OpenMP workers of its
own, and both are slower for it. See `peer_worker` for how it is asked.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from actors.arrays import Longs
from actors.backends.base import PassRequest
from actors.backends.pytorch.packed_pass import packed_pass
from actors.backends.pytorch.padded_pass import PaddedPass
from actors.backends.pytorch.prepared_pass import PassKind, run
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.collate import collate
from actors.models.loading import load_spec
from benchmarks.floor import Shape, fastest_flops_per_second, sgemm_flops_per_second
from benchmarks.offline.peer_worker import Answer, serve
from benchmarks.offline.rows import read_pairs

_CPU = torch.device("cpu")
_BY_HAND = 8
"""Windows of a pass of the hand-written loop."""


class Yardsticks:
    """One model, in a packed and in a padded pass."""

    def __init__(self, folder: Path) -> None:
        self._spec, self._shape = load_spec(folder), Shape.of_folder(folder)
        model = load_model(folder, with_qa_head=True).train(False)
        packed = packed_pass(model)
        if packed is None:
            raise SystemExit(f"{folder}: this kind of model is not computed without padding")
        self._packed, self._padded = packed, PaddedPass(model)

    def floor(self) -> Answer:
        """Floating-point operations per second of large products, by sgemm and in the fastest way."""
        return {"sgemm": sgemm_flops_per_second(), "fastest": fastest_flops_per_second()}

    def size(self, corpus: str) -> Answer:
        """What there is to compute for the rows of a file, without padding."""
        lengths = read_pairs(self._spec, corpus).lengths(self._spec.pair.specials)
        return {"windows": len(lengths), "tokens": int(lengths.sum()), "flops": self._shape.flops(lengths)}

    def by_hand(self, corpus: str) -> Answer:
        """Passes of eight windows without padding, shortest first; nothing is done with the logits."""
        prepared = read_pairs(self._spec, corpus)
        order = np.argsort(prepared.lengths(self._spec.pair.specials), kind="stable")
        return {"seconds": self._seconds(self._packed, corpus, order, _BY_HAND)}

    def padded(self, corpus: str, windows: int) -> Answer:
        """Batches of so many windows in random order, padded, through the transformers module; nothing is decoded."""
        order = np.random.default_rng(1).permutation(len(read_pairs(self._spec, corpus).windows))
        return {"seconds": self._seconds(self._padded, corpus, order, windows)}

    def _seconds(self, kind: PassKind, corpus: str, order: Longs, windows: int) -> float:
        prepared, spec = read_pairs(self._spec, corpus), self._spec
        started = time.perf_counter()
        for i in range(0, len(order), windows):
            batch = collate(prepared, spec.pair, order[i : i + windows], spec.pad_id, spec.uses_type_ids)
            run(kind, PassRequest(batch, want_spans=True), _CPU)
        return time.perf_counter() - started


def main(folder: str, threads: str) -> None:
    """Loads the model, and serves."""
    torch.set_num_threads(int(threads))
    yardsticks = Yardsticks(Path(folder))
    calls = (yardsticks.floor, yardsticks.size, yardsticks.by_hand, yardsticks.padded)
    serve({call.__name__: call for call in calls}, {"torch": torch.__version__})


if __name__ == "__main__":
    main(*sys.argv[1:])
