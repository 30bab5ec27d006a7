"""The forms that transformers reads: safetensors, and PyTorch's own file, which holds nothing but tensors.

In float32 alone: transformers takes half precision of either by itself, and whatever else lies beside
`model.safetensors` would count as weights of the model, be downloaded with it and change its fingerprint.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend
from actors.backends.converted.conversion_cache import names_head
from actors.backends.converted.parity import TOLERANCES
from actors.backends.fingerprint import weight_files
from actors.backends.precision import EXACT
from actors.errors import ModelError, first_line
from actors.export.form import ExportForm, ExportTools
from actors.parameters import ModelParameters

_SAFETENSORS, _PICKLE = "model.safetensors", "pytorch_model.bin"
_Writer = Callable[[Path, Path, str, bool, ExportTools], None]


def _write_safetensors(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    """Config and tokenizer as well: what all other forms stand beside."""
    from actors.backends.pytorch.torch_weights import load_model
    from actors.training.student import save

    model = load_model(folder, with_qa_head)
    _drop_made_up_pooler(model, folder)
    save(model, folder, output, EXACT)


def _write_pickle(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(output / _SAFETENSORS), output / _PICKLE)


def _drop_made_up_pooler(model: Any, folder: Path) -> None:
    """Takes the pooler away that transformers makes up where the folder has none; nothing here computes with it."""
    if getattr(model, "pooler", None) is not None and not any("pooler." in name for name in _names(folder)):
        model.pooler = None


def _names(folder: Path) -> list[str]:
    """Of the tensors in a model folder."""
    import torch
    from safetensors import safe_open

    found: list[str] = []
    for path in weight_files(folder, TRANSFORMERS_WEIGHTS):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                found += tensors.keys()
        else:
            found += torch.load(path, map_location="cpu", weights_only=True)
    return found


def _open(output: Path, precision: str, tools: ExportTools, name: str) -> Backend:
    """By transformers, in a folder that has no other weights."""
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model

    file = (output / name).resolve()
    if not file.is_file():
        raise ModelError(f"{output} holds no {name}; export the model again")
    with TemporaryDirectory(prefix="spanmill-weights-") as alone:
        (Path(alone) / "config.json").symlink_to((output / "config.json").resolve())
        (Path(alone) / name).symlink_to(file)
        try:
            model = load_model(Path(alone), names_head(output))
        except ModelError as error:
            raise ModelError(f"{file} cannot be read: {first_line(error)}") from error
        # Before the folder is gone: weights may be mapped from the file.
        return TorchBackend(model, ModelParameters(device="cpu", dtype="float32", threads=tools.threads))


def _form(name: str, file: str, write: _Writer, read_by: str) -> ExportForm:
    return ExportForm(
        name=name,
        precisions=(EXACT,),
        files=lambda precision: (file,),
        write=write,
        open=partial(_open, name=file),
        tolerances={EXACT: TOLERANCES[EXACT]},
        read_by=read_by,
    )


SAFETENSORS = _form("safetensors", _SAFETENSORS, _write_safetensors, "transformers, Spanmill, candle")
PYTORCH = _form("pytorch", _PICKLE, _write_pickle, "torch.load, transformers")
