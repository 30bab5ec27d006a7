"""Batch inference as Ray's own guides write it: `map_batches` with a class that holds a model."""

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from ray import cloudpickle
from ray.data import ActorPoolStrategy
from transformers import AutoModelForQuestionAnswering, AutoTokenizer


class PlainAnswers:
    """Pads a batch to its longest row, cuts what is longer than a window, and takes the best start and the best end."""

    def __init__(self, folder: str, threads: int, longest: int, device: str) -> None:
        self._threads, self._longest, self._device = threads, longest, device
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # Told, since transformers takes weights in the precision that they are kept in.
        model: Any = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
        self._model = model.to(device)

    @torch.inference_mode()
    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Adds start and end of the answer, and `begun`, the moment at which the batch came, seconds of the epoch."""
        begun = time.time()
        # Here, since this is another thread than the constructor's, and Ray tells OpenMP to take one CPU.
        torch.set_num_threads(self._threads)
        inputs = self._tokenizer(
            batch["question"].tolist(),
            batch["context"].tolist(),
            truncation="only_second",
            max_length=self._longest,
            padding=True,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        offsets = inputs.pop("offset_mapping")
        logits = self._model(**inputs.to(self._device))
        rows = torch.arange(len(offsets))
        starts = offsets[rows, logits.start_logits.argmax(1).cpu(), 0].numpy()
        ends = offsets[rows, logits.end_logits.argmax(1).cpu(), 1].numpy()
        return {"id": batch["id"], "start": starts, "end": ends, "begun": np.full(len(rows), begun)}


class PlainRayData:
    """`setting` names `rows`, the batch size."""

    packages = ("ray", "torch", "transformers")
    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self.seconds: float | None = None
        # Ray's workers know no module of this name.
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
        ray.init(address=setup["ray_address"], log_to_driver=False, logging_level=logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def answer(self, questions: list[str], contexts: list[str], setting: dict[str, Any]) -> Any:
        """Start and end of each row's answer. The time is from the beginning of the first batch to the last file."""
        folder = Path(tempfile.mkdtemp(prefix="spanmill-bench-"))
        try:
            ids = np.arange(len(questions))
            pq.write_table(pa.table({"id": ids, "question": questions, "context": contexts}), folder / "in.parquet")
            self._run(folder, setting["rows"])
            found = pa.concat_tables([pq.read_table(file) for file in (folder / "out").glob("*.parquet")])
            written = max(file.stat().st_mtime for file in (folder / "out").glob("*.parquet"))
        finally:
            shutil.rmtree(folder)
        self.seconds = written - min(found["begun"].to_pylist())
        found = found.sort_by("id")
        return np.stack([found["start"].to_numpy(), found["end"].to_numpy()], axis=1).tolist()

    def _run(self, folder: Path, rows: int) -> None:
        setup = self._setup
        on_gpu = setup["device"] != "cpu"
        longest = setup["qa"]["max_seq_len"]
        answers = ray.data.read_parquet(str(folder / "in.parquet")).map_batches(
            PlainAnswers,
            fn_constructor_args=(setup["model"], setup["threads"], longest, "cuda" if on_gpu else "cpu"),
            batch_size=rows,
            num_cpus=1,  # More would leave no CPU to read and write, on a small machine.
            num_gpus=1 if on_gpu else 0,
            compute=ActorPoolStrategy(size=1),
        )
        answers.write_parquet(str(folder / "out"))


def load(setup: dict[str, Any]) -> PlainRayData:
    """On the cluster of a run; the model is loaded for every call."""
    return PlainRayData(setup)
