"""infinity's engine on torch: requests wait in its queue, which batches them by length."""

import asyncio
from typing import Any

import numpy as np
import torch
from infinity_emb import AsyncEmbeddingEngine, EngineArgs


class Infinity:
    """`setting` is not looked at: its engine batches by itself, up to `texts` of the setup."""

    packages = ("infinity-emb", "sentence-transformers", "transformers", "torch")
    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        torch.set_num_threads(setup["threads"])
        self._loop = asyncio.new_event_loop()
        arguments = EngineArgs(
            model_name_or_path=setup["model"],
            engine="torch",
            device=setup["device"],
            dtype="float32",
            batch_size=setup["texts"],
            bettertransformer=False,
            model_warmup=False,
            compile=False,
        )
        self._engine = AsyncEmbeddingEngine.from_args(arguments)
        self._loop.run_until_complete(self._engine.astart())

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """Vectors of length 1, [R, D]."""
        vectors, _ = self._loop.run_until_complete(self._engine.embed(texts))
        return np.stack(vectors)


def load(setup: dict[str, Any]) -> Infinity:
    """The engine over a model folder."""
    return Infinity(setup)
