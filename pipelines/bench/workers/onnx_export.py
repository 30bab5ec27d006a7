"""Exports a model to ONNX, for peers that take it in that form.

python -m pipelines.bench.workers.onnx_export MODEL FOLDER
"""

import shutil
import sys
from pathlib import Path

from actors.backends.converted.conversion import export_onnx


def main(model: str, folder: str) -> None:
    """Writes `model.onnx` for embeddings, and the tokenizer's and the model's JSON files beside it."""
    for file in Path(model).glob("*.json"):
        shutil.copyfile(file, Path(folder) / file.name)
    export_onnx(Path(model), Path(folder), with_qa_head=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
