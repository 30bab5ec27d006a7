"""The form that TensorFlow reads: a SavedModel in `saved_model/1`, written and read in TensorFlow's own environment."""

import io
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

import numpy as np

from actors.arrays import Floats
from actors.backends.base import Backend
from actors.backends.converted.converted_backend import ConvertedBackend, padded_inputs
from actors.backends.converted.parity import TOLERANCES
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.errors import ModelError
from actors.export.form import ExportForm, ExportTools
from actors.model_config import load_config

FOLDER = "saved_model/1"
_PROGRAM = Path(__file__).with_name("tensorflow_model.py")
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")


def _python(tools: ExportTools) -> str:
    if "tensorflow" in tools.pythons:
        return str(tools.pythons["tensorflow"])
    if find_spec("tensorflow") is None:
        raise ModelError(
            "--formats: tensorflow needs an environment with it: pip install tensorflow-cpu safetensors there, and name "
            "it with --python tensorflow=/path/bin/python"
        )
    return sys.executable


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    from safetensors.torch import save_file

    from actors.backends.pytorch.torch_weights import load_model

    python, config = _python(tools), load_config(folder)
    act = getattr(config, "activation", None) or getattr(config, "hidden_act", "gelu")
    if act not in _ACTIVATIONS:
        raise ModelError(f"{folder}: its activation is {act}; tensorflow holds {', '.join(_ACTIVATIONS)}. Leave it out")
    with tempfile.TemporaryDirectory() as made:
        tensors = load_model(folder, with_qa_head).state_dict()
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, f"{made}/weights.safetensors")
        copyfile(folder / "config.json", f"{made}/config.json")
        words = [python, str(_PROGRAM), "write", made, str(output / FOLDER)]
        done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise ModelError(f"{folder}: it cannot be written for TensorFlow by {python}: {said}")


class TensorFlowBackend(ConvertedBackend):
    """A process that computes with a SavedModel; it ends with this object."""

    def __init__(self, output: Path, python: str) -> None:
        config = load_config(output)
        self._names = ["input_ids", "attention_mask"]
        if config.model_type != "distilbert" and getattr(config, "type_vocab_size", 0) > 1:
            self._names.append("token_type_ids")
        self._said = tempfile.TemporaryFile()
        words = [python, str(_PROGRAM), "serve", str(output / FOLDER)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=self._said)
        weakref.finalize(self, self._process.kill)
        super().__init__("cpu", config.hidden_size)

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`."""
        asked = io.BytesIO()
        np.savez(asked, **padded_inputs(batch, self._names))
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None and answers is not None
        try:
            given.write(len(asked.getvalue()).to_bytes(8, "little") + asked.getvalue())
            given.flush()
            answer = answers.read(int.from_bytes(answers.read(8), "little"))
        except BrokenPipeError:
            answer = b""
        if not answer:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise ModelError(f"TensorFlow's process ended: {' / '.join(said)}")
        with np.load(io.BytesIO(answer), allow_pickle=False) as found:
            return {name: found[name] for name in outputs}


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    return TensorFlowBackend(output, _python(tools))


TENSORFLOW = ExportForm(
    name="tensorflow",
    precisions=(EXACT,),
    files=lambda precision: ("saved_model/1/**",),
    write=_write,
    open=_open,
    tolerances={EXACT: TOLERANCES[EXACT]},
    read_by="TensorFlow, TensorFlow Serving",
    kinds=frozenset({"distilbert", "bert", "roberta"}),
)
