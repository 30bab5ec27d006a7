"""The form that Rust reads by tch, and rust-bert on top of it: `rust_model.ot`, beside the safetensors.

It is a TorchScript archive whose parameters tch reads by `torch::jit::load(file).named_parameters()`. TorchScript allows
no dot in a name, so `|` stands for it; tch puts the dots back (`add_callback` in src/wrappers/tensor.rs of tch-rs).
"""

import json
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from actors.arrays import Floats
from actors.backends.base import Backend
from actors.backends.converted.conversion import END, START
from actors.backends.converted.conversion_cache import names_head
from actors.backends.converted.converted_backend import ConvertedBackend
from actors.backends.converted.parity import TOLERANCES
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.errors import ModelError, first_line
from actors.export.form import ExportForm, ExportTools

FILE = "rust_model.ot"
_SOURCES = Path(__file__).parents[2] / "infra" / "rust"
"""There in a copy of the repository only."""


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    import torch

    from actors.backends.pytorch.torch_weights import load_model

    holder: Any = torch.nn.Module()
    for name, tensor in load_model(folder, with_qa_head).state_dict().items():
        # Cloned: tied tensors would be one parameter under one of their names.
        value = torch.nn.Parameter(tensor.detach().clone(), requires_grad=False)
        holder.register_parameter(name.replace(".", "|"), value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and is what tch reads
        torch.jit.script(holder).save(str(output / FILE))


def read_tensors(file: Path) -> dict[str, Any]:
    """The tensors of an .ot file by their names with dots, as tch gives them.

    Raises:
        ModelError: it cannot be read.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive = torch.jit.load(str(file))
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {first_line(error)}; export the model again") from error
    return {name.replace("|", "."): tensor.detach() for name, tensor in archive.named_parameters()}


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    tensors = read_tensors(output / FILE)
    _check_same(output, tensors)
    has_head = names_head(output)
    if has_head and which(tools.rustc) and (_SOURCES / "spans.rs").is_file():
        return RustBackend(output, tools.rustc)
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model
    from actors.parameters import ModelParameters

    model = load_model(output, has_head)
    model.load_state_dict(tensors, strict=True)
    return TorchBackend(model, ModelParameters(device="cpu", dtype=EXACT, threads=tools.threads))


def _check_same(output: Path, tensors: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import load_file

    file = output / "model.safetensors"
    try:
        others = load_file(file)
    except Exception as error:  # safetensors raises its own kinds
        raise ModelError(f"{file} cannot be read: {first_line(error)}; export safetensors beside rust") from error
    for name, other in others.items():
        if name not in tensors or not torch.equal(tensors[name].view(torch.uint8), other.view(torch.uint8)):
            raise ModelError(f"{output / FILE}: {name} is not that of {file.name}; export the model again")


class RustBackend(ConvertedBackend):
    """The program of infra/rust on the folder's safetensors: logits only, window by window on one thread."""

    def __init__(self, folder: Path, rustc: str) -> None:
        """Compiles the program, which takes seconds.

        Raises:
            ModelError: it cannot be compiled.
        """
        self._folder, self._built = folder, TemporaryDirectory(prefix="spanmill-rust-")
        self._program = Path(self._built.name) / "spans"
        source = str(_SOURCES / "spans.rs")
        _run([rustc, "--edition", "2021", "-O", source, "-o", str(self._program)], "")
        config = json.loads((folder / "config.json").read_bytes())
        super().__init__("cpu", int(config.get("hidden_size") or config["dim"]))

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`; hidden states are not among what it gives."""
        found = _run([str(self._program), str(self._folder)], "\n".join(_lines(batch))).splitlines()
        windows = [json.loads(line) for line in found]
        keys = {START: "start_logits", END: "end_logits"}
        return {
            name: batch.pad(np.concatenate([np.array(window[keys[name]], np.float32) for window in windows]))
            for name in outputs
            if name in keys
        }


def _lines(batch: Batch) -> list[str]:
    lines = []
    for first, length in zip(batch.first, batch.lengths, strict=True):
        own = slice(int(first), int(first + length))
        line = " ".join(map(str, batch.ids[own]))
        lines.append(line if batch.types is None else f"{line} | {' '.join(map(str, batch.types[own]))}")
    return lines


def _run(words: list[str], text: str) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "nothing was said").splitlines()
        raise ModelError(f"{Path(words[0]).name} ended with exit code {done.returncode}: {said[-1]}")
    return done.stdout


RUST = ExportForm(
    name="rust",
    precisions=(EXACT,),
    files=lambda precision: (FILE,),
    write=_write,
    open=_open,
    tolerances={EXACT: TOLERANCES[EXACT]},
    read_by="tch, rust-bert",
    kinds=frozenset({"distilbert", "bert", "roberta"}),
)
