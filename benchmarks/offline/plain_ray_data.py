"""Batch inference as Ray's own guides write it: `map_batches` with a class that holds a model."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray
import torch
from ray.data import ActorPoolStrategy
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from benchmarks.offline.limits import QA

_ROWS = 32
"""Of a batch."""


class PlainAnswers:
    """Pads a batch to its longest row, cuts what is longer than a window, and takes the best start and the best end."""

    def __init__(self, folder: str, threads: int) -> None:
        self._threads = threads
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # Told, since transformers takes weights in the precision that they are kept in.
        self._model: Any = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)

    @torch.inference_mode()
    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Adds `answer`, and `begun`, the moment at which the batch came, seconds of the epoch."""
        begun = time.time()
        # Here, since this is another thread than the constructor's, and Ray tells OpenMP to take one CPU.
        torch.set_num_threads(self._threads)
        inputs = self._tokenizer(
            batch["question"].tolist(),
            batch["context"].tolist(),
            truncation="only_second",
            max_length=QA.max_seq_len,
            padding=True,
            return_tensors="pt",
        )
        logits = self._model(**inputs)
        spans = zip(inputs["input_ids"], logits.start_logits.argmax(1), logits.end_logits.argmax(1), strict=True)
        answers = [self._tokenizer.decode(ids[start : end + 1]) for ids, start, end in spans]
        return {"id": batch["id"], "answer": np.array(answers), "begun": np.full(len(answers), begun)}


def plain_seconds(corpus: Path, output: Path, model: Path, threads: int) -> float:
    """Answers a Parquet file by one actor with all threads, on the cluster that is connected.

    Args:
        output: a folder that is not there yet.

    Returns:
        Seconds from the beginning of the first batch to the last file that was written.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    answers = ray.data.read_parquet(str(corpus)).map_batches(
        PlainAnswers,
        fn_constructor_args=(str(model), threads),
        batch_size=_ROWS,
        num_cpus=1,  # More would leave no CPU to read and write, on a small machine.
        compute=ActorPoolStrategy(size=1),
    )
    answers.write_parquet(str(output))
    files = list(output.glob("*.parquet"))
    begun = min(pq.read_table(file)["begun"].to_numpy().min() for file in files)
    return float(max(file.stat().st_mtime for file in files) - begun)
