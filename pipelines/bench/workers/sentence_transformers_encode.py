"""sentence-transformers' `encode` on torch, ONNX Runtime or OpenVINO: the mean of the last hidden states, in float32.

Texts are cut at the window length, where the engine goes on with a further window.
"""

from typing import Any

import sentence_transformers
import torch
from sentence_transformers import models
from transformers.utils import logging


class Encoder:
    """`setting` names `texts`, the batch size."""

    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        torch.set_num_threads(setup["threads"])
        backend = setup["backend"]
        self.packages = [
            "sentence-transformers",
            "transformers",
            {"torch": "torch", "onnx": "onnxruntime"}.get(backend, backend),
        ]
        # Without its own files for these runtimes, a folder is exported while it is loaded.
        options: dict[str, Any] = {} if backend == "torch" else {"model_kwargs": {"export": True}}
        if backend == "onnx":
            options["model_kwargs"] |= _onnx_options(setup["threads"])
        if backend == "openvino":
            options["model_kwargs"] |= {"ov_config": {"INFERENCE_NUM_THREADS": setup["threads"]}}
        transformer = models.Transformer(
            setup["model"], max_seq_length=setup["embedding"]["max_seq_len"], backend=backend, **options
        )
        width = transformer.get_word_embedding_dimension()
        pooling = models.Pooling(width, setup["embedding"]["pooling"])
        device = setup["device"] if backend == "torch" else "cpu"
        self._model = sentence_transformers.SentenceTransformer(modules=[transformer, pooling], device=device)
        if backend == "torch":
            # It takes weights in the precision that they are kept in.
            self._model.float()

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """Vectors of length 1, [R, D]."""
        return self._model.encode(
            texts, batch_size=setting["texts"], normalize_embeddings=True, show_progress_bar=False
        )


def _onnx_options(threads: int) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return {"provider": "CPUExecutionProvider", "session_options": options}


def load(setup: dict[str, Any]) -> Encoder:
    """The encoder over a model folder."""
    return Encoder(setup)
