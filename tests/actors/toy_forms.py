"""Forms of a model that another package might bring: a text of its weights, one that is off, and some that fail."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from actors.backends.base import Backend
from actors.backends.converted.parity import TOLERANCES
from actors.backends.precision import EXACT
from actors.errors import ModelError
from actors.export.form import ExportForm, ExportTools

TEXT_NAME, PAIR_NAME, CALIBRATED_NAME, OFF_NAME, REFUSED_NAME, BROKEN_NAME, MUTTERING_NAME, FULL_NAME, ABSENT_NAME = (
    f"tests.actors.toy_forms:{name}"
    for name in ("TEXT", "PAIR", "CALIBRATED", "OFF", "REFUSED", "BROKEN", "MUTTERING", "FULL", "ABSENT")
)


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    from safetensors.torch import load_file

    tensors = load_file(output / "model.safetensors")
    place = output / "text" / precision
    place.mkdir(parents=True)
    (place / "weights.json").write_text(json.dumps({name: tensor.tolist() for name, tensor in tensors.items()}))
    (place / "notes.txt").write_text("no file of the form")


def _open(output: Path, precision: str, tools: ExportTools, factor: float = 1.0) -> Backend:
    import torch

    from actors.backends.converted.conversion_cache import names_head
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model
    from actors.parameters import ModelParameters

    tensors = json.loads((output / "text" / precision / "weights.json").read_text())
    model = load_model(output, names_head(output))
    model.load_state_dict({name: torch.tensor(values) * factor for name, values in tensors.items()}, strict=True)
    return TorchBackend(model, ModelParameters(device="cpu", dtype="float32", threads=tools.threads))


def _write_calibrated(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    _write(folder, output, precision, with_qa_head, tools)
    (output / "text" / precision / "calibration.json").write_text(json.dumps(tools.calibration))


def _open_off(output: Path, precision: str, tools: ExportTools) -> Backend:
    return _open(output, precision, tools, factor=0.5)


def _fails(error: Callable[[], Exception]) -> Callable[[Path, Path, str, bool, ExportTools], None]:
    def write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
        (output / "text" / precision).mkdir(parents=True)
        (output / "text" / precision / "weights.json").write_text("half of ")
        raise error()

    return write


TEXT = ExportForm(
    name="text",
    precisions=(EXACT,),
    files=lambda precision: (f"text/{precision}/*.json",),
    write=_write,
    open=_open,
    tolerances={EXACT: TOLERANCES[EXACT]},
    read_by="people with time",
)
PAIR = replace(
    TEXT, precisions=(EXACT, "int8"), tolerances={precision: TOLERANCES[precision] for precision in (EXACT, "int8")}
)
PARTLY = replace(PAIR, packages_of={"int8": ("no_such_package",)}, extra_of="text")
CALIBRATED = replace(TEXT, write=_write_calibrated)
OFF = replace(TEXT, open=_open_off)
REFUSED = replace(TEXT, write=_fails(lambda: ModelError("a comma is no decimal point")))
BROKEN = replace(TEXT, precisions=(EXACT, "int8"), write=_fails(lambda: RuntimeError("bug\nsecond line")))
MUTTERING = replace(TEXT, write=_fails(lambda: ValueError("I/O error: No space left on device (os error 28)")))
FULL = replace(TEXT, write=_fails(lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
ABSENT = replace(TEXT, packages=("no_such_package",), extra="text")
