"""Exports a model to ONNX, for peers that take it in that form.

python -m pipelines.bench.workers.onnx_export MODEL FOLDER
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForQuestionAnswering

_INPUTS = ("input_ids", "attention_mask")
"""[n, S] int64 each."""


class _OneOutput(torch.nn.Module):
    """[n, S, 2] start and end logits, or [n, S, D] last hidden states."""

    def __init__(self, folder: Path, with_qa_head: bool) -> None:
        super().__init__()
        kind: Any = AutoModelForQuestionAnswering if with_qa_head else AutoModel
        self._model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        self._with_qa_head = with_qa_head

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        output = self._model(input_ids=input_ids, attention_mask=attention_mask)
        if self._with_qa_head:
            return torch.stack([output.start_logits, output.end_logits], -1)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def export(folder: Path, path: Path, with_qa_head: bool) -> None:
    """Writes an ONNX file for any number of windows of any length, in float32."""
    sizes = {0: torch.export.Dim("windows"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(
        _OneOutput(folder, with_qa_head).eval(),
        tuple(torch.ones(2, 2, 16, dtype=torch.int64)),
        path,
        input_names=list(_INPUTS),
        output_names=["output"],
        dynamic_shapes=dict.fromkeys(_INPUTS, sizes),
        dynamo=True,
        verbose=False,
        external_data=False,
    )


def main(model: str, folder: str) -> None:
    """Writes `model.onnx` for embeddings, and the tokenizer's and the model's JSON files beside it."""
    for file in Path(model).glob("*.json"):
        shutil.copyfile(file, Path(folder) / file.name)
    export(Path(model), Path(folder) / "model.onnx", with_qa_head=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
