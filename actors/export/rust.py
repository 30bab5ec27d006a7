"""The form that Rust reads by tch, and rust-bert on top of it: `rust_model.ot`. Candle reads the safetensors beside it.

It is a TorchScript archive, whose parameters tch takes by `torch::jit::load(file).named_parameters()`. A name within it
holds no dot, so `|` stands there, and tch puts the dots back (`at_load_callback` in torch-sys/libtch/torch_api.cpp and
`add_callback` in src/wrappers/tensor.rs of tch-rs). `torch.jit.load` of Python runs the same importer.
"""

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

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
from actors.export.exact_weights import exact_weights
from actors.export.form import ExportForm, ExportTools
from actors.export.programs import AskedProgram, run_program
from actors.model_config import load_config
from actors.parameters import ModelParameters

if TYPE_CHECKING:
    from torch import Tensor

FILE = "rust_model.ot"
_SOURCE = Path(__file__).with_name("rust_program") / "spans.rs"
"""A link to the folder in infra/: the program is part of the wheel."""
_INSTALL_RUSTC = "apt-get install rustc, or see https://rustup.rs"


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    import torch

    holder: Any = torch.nn.Module()
    for name, tensor in _archived_tensors(output).items():
        holder.register_parameter(name.replace(".", "|"), torch.nn.Parameter(tensor, requires_grad=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and is what tch reads
        archive = torch.jit.script(holder).save_to_buffer()
    # Torch's own writer does not say when the disk is full.
    (output / FILE).write_bytes(archive)


def _archived_tensors(output: Path) -> dict[str, "Tensor"]:
    """What the archive of an exported folder holds: what its safetensors do, and what rust-bert wants beside that."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(exact_weights(output))
    config = load_config(output)
    if config.model_type == "bert" and names_head(output):
        # rust-bert's BertForQuestionAnswering has a pooler, with which it computes nothing, and reads no file without.
        size = config.hidden_size
        made_up = {"bert.pooler.dense.weight": torch.zeros(size, size), "bert.pooler.dense.bias": torch.zeros(size)}
        return made_up | tensors
    return tensors


def read_archive(file: Path) -> dict[str, "Tensor"]:
    """The tensors of an .ot file by their names with dots, as tch gives them.

    Raises:
        ModelError: it cannot be read, or holds code, which may come from anybody and would be run by reading it.
    """
    import torch

    try:
        if _holds_code(file):
            raise ModelError(f"{file} holds code beside its tensors, and is not read; export the model again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive: Any = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, ValueError, BadZipFile) as error:
        raise ModelError(f"{file} cannot be read: {first_line(error)}; export the model again") from error
    return {name.replace("|", "."): tensor.detach() for name, tensor in archive.named_parameters()}


def _holds_code(file: Path) -> bool:
    """Whether a TorchScript archive has a function: with one, `torch.jit.load` may write files, by `__setstate__`."""
    with ZipFile(file) as archive:
        sources = [name for name in archive.namelist() if name.endswith(".py")]
        return any(re.search(rb"\bdef\b", archive.read(name)) for name in sources)


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    tensors = read_archive(output / FILE)
    for difference in _differences(tensors, _archived_tensors(output)):
        raise ModelError(f"{output / FILE}: {difference}; export the model again")
    if names_head(output):
        return RustBackend(output)
    return _torch_backend(output, tensors, tools.threads)


def _differences(found: dict[str, "Tensor"], expected: dict[str, "Tensor"]) -> Iterator[str]:
    """What an archive has otherwise than its folder, bit for bit."""
    import torch

    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            yield f"{name} is in {'the safetensors beside it' if name in expected else 'it'} only"
        elif found[name].dtype != expected[name].dtype or found[name].shape != expected[name].shape:
            yield f"{name} has another type or shape than in the safetensors beside it"
        # Not as floats: NaN is unequal to itself, and 0.0 equal to -0.0.
        elif not torch.equal(*(one.contiguous().view(torch.uint8) for one in (found[name], expected[name]))):
            yield f"{name} has other values than in the safetensors beside it"


def _torch_backend(output: Path, tensors: dict[str, "Tensor"], threads: int | None) -> Backend:
    """Computes with the tensors of an archive by the library that tch calls: the Rust program gives logits only."""
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model

    model = load_model(output, with_qa_head=False)
    # Not strict: transformers makes a pooler up where there is none.
    model.load_state_dict(tensors, strict=False)
    return TorchBackend(model, ModelParameters(device="cpu", dtype="float32", threads=threads))


class RustBackend(ConvertedBackend):
    """The program of infra/rust on a folder's config and safetensors: logits only, window by window on one thread."""

    def __init__(self, folder: Path) -> None:
        """Compiles the program, which takes seconds, and starts it.

        Raises:
            ModelError: there is no compiler, or it fails.
        """
        if which("rustc") is None:
            raise ModelError(f"the form rust is read back by a Rust program, and rustc is not here: {_INSTALL_RUSTC}")
        with TemporaryDirectory(prefix="spanmill-rust-") as place:
            program = Path(place) / "spans"
            run_program(["rustc", "--edition", "2021", "-O", _SOURCE, "-o", program], "rustc")
            # Once it runs, its file is not needed.
            self._program = AskedProgram([program, folder], "the Rust program")
        super().__init__("cpu", load_config(folder).hidden_size)

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`; hidden states are not among what it gives."""
        answers = [json.loads(self._program.ask(line, _read_line)) for line in _lines(batch)]
        return {
            name: batch.pad(np.concatenate([np.array(answer[name], np.float32) for answer in answers]))
            for name in outputs
            if name in (START, END)
        }


def _lines(batch: Batch) -> Iterator[bytes]:
    """A window each, as the program takes it: token ids, and token types behind a bar."""
    for first, length in zip(batch.first, batch.lengths, strict=True):
        own = slice(int(first), int(first + length))
        parts = (batch.ids[own],) if batch.types is None else (batch.ids[own], batch.types[own])
        yield " | ".join(" ".join(map(str, part.tolist())) for part in parts).encode() + b"\n"


def _read_line(answers: IO[bytes]) -> bytes:
    return answers.readline()


RUST = ExportForm(
    name="rust",
    precisions=(EXACT,),
    files=lambda precision: (FILE,),
    write=_write,
    open=_open,
    tolerances={EXACT: TOLERANCES[EXACT]},
    read_by="tch, rust-bert",
    kinds=frozenset({"distilbert", "bert", "roberta"}),
    programs={"rustc": _INSTALL_RUSTC},
)
