"""The forms that transformers reads: safetensors, and PyTorch's own file, which holds nothing but tensors.

float32 has the plain name, which transformers reads by itself; float16 is the variant `fp16`, which it reads with
`from_pretrained(folder, variant="fp16")`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend
from actors.backends.converted.conversion_cache import names_head
from actors.backends.converted.parity import TOLERANCES
from actors.backends.fingerprint import weight_files
from actors.backends.precision import EXACT
from actors.errors import ModelError, first_line
from actors.export.form import ExportForm, ExportTools
from actors.parameters import ModelParameters

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_SAFETENSORS = {EXACT: "model.safetensors", "float16": "model.fp16.safetensors"}
_PICKLES = {EXACT: "pytorch_model.bin", "float16": "pytorch_model.fp16.bin"}
_Writer = Callable[[Path, Path, str, bool, ExportTools], None]
_TOLERANCES = {precision: TOLERANCES[precision] for precision in _SAFETENSORS}


def _write_safetensors(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    """In float32 config and tokenizer as well: what all other forms stand beside."""
    from safetensors.torch import save_file

    from actors.backends.pytorch.torch_weights import load_model
    from actors.training.student import save

    if precision != EXACT:
        # As transformers marks its own.
        save_file(_halved(output), output / _SAFETENSORS[precision], metadata={"format": "pt"})
        return
    model = load_model(folder, with_qa_head)
    _drop_made_up_pooler(model, folder)
    save(model, folder, output, EXACT)


def _write_pickle(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    import torch

    torch.save(_exact(output) if precision == EXACT else _halved(output), output / _PICKLES[precision])


def _exact(output: Path) -> dict[str, "Tensor"]:
    """The weights that every export has, by transformers' names."""
    from safetensors.torch import load_file

    return load_file(output / _SAFETENSORS[EXACT])


def _halved(output: Path) -> dict[str, "Tensor"]:
    import torch

    halves = {name: tensor.to(torch.float16) for name, tensor in _exact(output).items()}
    if too_large := [name for name, tensor in halves.items() if not bool(torch.isfinite(tensor).all())]:
        raise ModelError(
            f"float16 holds no number beyond 65,504, and {too_large[0]} has one; leave float16 out of --precision"
        )
    return halves


def _drop_made_up_pooler(model: "PreTrainedModel", folder: Path) -> None:
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


def _open(output: Path, precision: str, tools: ExportTools, files: Mapping[str, str]) -> Backend:
    """Transformers reads the file in a folder that has no other weights; passes are in float32, as CPUs compute best."""
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model

    file = (output / files[precision]).resolve()
    if not file.is_file():
        raise ModelError(f"{output} holds no {file.name}; export the model again")
    with TemporaryDirectory(prefix="spanmill-weights-") as alone:
        (Path(alone) / "config.json").symlink_to((output / "config.json").resolve())
        (Path(alone) / files[EXACT]).symlink_to(file)
        try:
            model = load_model(Path(alone), names_head(output))
        except ModelError as error:
            raise ModelError(f"{file} cannot be read: {first_line(error)}") from error
    return TorchBackend(model, ModelParameters(device="cpu", dtype=EXACT, threads=tools.threads))


def _form(name: str, files: Mapping[str, str], write: _Writer, read_by: str) -> ExportForm:
    return ExportForm(
        name=name,
        precisions=tuple(files),
        files=lambda precision: (files[precision],),
        write=write,
        open=partial(_open, files=files),
        tolerances=_TOLERANCES,
        read_by=read_by,
    )


SAFETENSORS = _form("safetensors", _SAFETENSORS, _write_safetensors, "transformers, Spanmill, candle, TEI")
PYTORCH = _form("pytorch", _PICKLES, _write_pickle, "torch.load, transformers")
