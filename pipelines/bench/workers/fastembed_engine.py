"""FastEmbed over a model that is exported to ONNX: the mean of the last hidden states, in float32."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

_NAME = "spanmill/bench"


class FastEmbed:
    """`setting` names `texts`, the batch size."""

    packages = ("fastembed", "onnxruntime")
    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        folder = Path(setup["onnx"])
        config = json.loads((folder / "config.json").read_text())
        described = folder / "tokenizer_config.json"
        limit = setup["embedding"]["max_seq_len"]
        described.write_text(json.dumps(json.loads(described.read_text()) | {"model_max_length": limit}))
        TextEmbedding.add_custom_model(
            model=_NAME,
            pooling=PoolingType.MEAN if setup["embedding"]["pooling"] == "mean" else PoolingType.CLS,
            normalization=True,
            sources=ModelSource(url="file:///none"),
            dim=config.get("hidden_size") or config["dim"],
            model_file="model.onnx",
        )
        self._model = TextEmbedding(_NAME, threads=setup["threads"], specific_model_path=str(folder))

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """Vectors of length 1, [R, D]."""
        return np.stack(list(self._model.embed(texts, batch_size=setting["texts"])))


def load(setup: dict[str, Any]) -> FastEmbed:
    """Over the exported model in the folder `onnx` of the setup."""
    return FastEmbed(setup)
