"""The form that TensorFlow reads: a SavedModel in `saved_model/1`, written and read by a Python that has TensorFlow.

TensorFlow's packages do not go with Spanmill's, so that is as a rule the Python of another environment, which runs
`tensorflow_model.py`. Folder and signatures, `serving_default` for ids of 32 bits and `int64_serving`, are those that
`save_pretrained(saved_model=True)` of transformers 4 made; the 1 is what TensorFlow Serving takes for the version.
"""

import io
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from actors.arrays import Floats
from actors.backends.base import Backend
from actors.backends.converted.converted_backend import ConvertedBackend, padded_inputs
from actors.backends.converted.parity import TOLERANCES
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.errors import ModelError
from actors.export.exact_weights import exact_weights
from actors.export.form import ExportForm, ExportTools
from actors.export.programs import AskedProgram, run_program
from actors.model_config import load_config

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NAME, FOLDER = "tensorflow", "saved_model/1"
_PROGRAM = Path(__file__).with_name("tensorflow_model.py")
_KINDS = ("distilbert", "bert", "roberta")
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")
"""Those of the program, which cannot be imported here."""
_WANTED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
"""Keys of a config that make another model of these kinds, each with the only value that the form holds."""
_ENVIRONMENT = {
    # Only errors on stderr, whose last line is shown.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # What is compared is computed on the CPU; on a GPU, TensorFlow would take all memory and multiply in TF32.
    "CUDA_VISIBLE_DEVICES": "-1",
}


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    architecture, weights = _architecture(output), exact_weights(output)
    words = [*_program(tools), "write", json.dumps(architecture), weights.parent, output / FOLDER]
    run_program(words, "TensorFlow's Python", _ENVIRONMENT)


def _program(tools: ExportTools) -> list[str | Path]:
    """The interpreter with TensorFlow, and what it runs.

    Raises:
        ModelError: there is none.
    """
    python = tools.pythons.get(NAME)
    if python is None:
        if find_spec("tensorflow") is None:
            raise ModelError(
                "the form tensorflow needs the Python of an environment that has it: pip install tensorflow-cpu "
                "safetensors there, and name it with --python tensorflow=PATH"
            )
        python = Path(sys.executable)
    # -I: without the program's own folder, whose tensorflow.py would be taken for TensorFlow, and without packages that
    # PYTHONPATH shows this process.
    return [python, "-I", _PROGRAM]


def _architecture(folder: Path) -> dict[str, object]:
    """The fields of the program's `Architecture`.

    Raises:
        ModelError: the config is of a model that the program would compute otherwise than transformers does.
    """
    config = load_config(folder)
    kind = config.model_type
    if kind not in _KINDS:
        raise _cannot_hold("model_type", kind, _KINDS)
    for key, wanted in _WANTED.items():
        if (found := getattr(config, key, None)) not in (wanted, None):
            raise _cannot_hold(key, found, (wanted,))
    is_distilbert = kind == "distilbert"
    key = "activation" if is_distilbert else "hidden_act"
    if (activation := getattr(config, key)) not in _ACTIVATIONS:
        raise _cannot_hold(key, activation, _ACTIVATIONS)
    return {
        "model_type": kind,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "epsilon": 1e-12 if is_distilbert else config.layer_norm_eps,
        "activation": activation,
        "padding": config.pad_token_id if kind == "roberta" else None,
        "has_types": _has_types(config),
    }


def _cannot_hold(key: str, found: object, known: Sequence[object]) -> ModelError:
    return ModelError(
        f"{key} in its config.json is {found}, and the form tensorflow holds {', '.join(map(str, known))} only; leave "
        "tensorflow out of --formats"
    )


def _has_types(config: "PreTrainedConfig") -> bool:
    return config.model_type != "distilbert" and getattr(config, "type_vocab_size", 0) > 1


class TensorFlowBackend(ConvertedBackend):
    """A SavedModel in a process that has TensorFlow, which ends with this object."""

    def __init__(self, output: Path, tools: ExportTools) -> None:
        """Starts the process, which says only when it is asked that it cannot read the SavedModel.

        Raises:
            ModelError: there is no interpreter with TensorFlow, or it cannot be started.
        """
        config = load_config(output)
        self._inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if _has_types(config) else [])]
        words = [*_program(tools), "serve", output / FOLDER, str(tools.threads or 0)]
        self._program = AskedProgram(words, "TensorFlow's Python", _ENVIRONMENT)
        super().__init__("cpu", config.hidden_size)

    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """See `ConvertedBackend.compute`."""
        asked = io.BytesIO()
        inputs: dict[str, Any] = {"outputs": np.array(outputs), **padded_inputs(batch, self._inputs)}
        np.savez(asked, **inputs)
        message = len(asked.getvalue()).to_bytes(8, "little") + asked.getvalue()
        with np.load(io.BytesIO(self._program.ask(message, _read_message)), allow_pickle=False) as found:
            return {name: found[name] for name in outputs}


def _read_message(answers: IO[bytes]) -> bytes:
    return answers.read(int.from_bytes(answers.read(8), "little"))


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    if not (output / FOLDER / "saved_model.pb").is_file():
        raise ModelError(f"{output} holds no {FOLDER}/saved_model.pb; export the model again")
    return TensorFlowBackend(output, tools)


TENSORFLOW = ExportForm(
    name=NAME,
    precisions=(EXACT,),
    files=lambda precision: (f"{FOLDER}/*",),
    write=_write,
    open=_open,
    tolerances={EXACT: TOLERANCES[EXACT]},
    read_by="TensorFlow, TensorFlow Serving",
    kinds=frozenset(_KINDS),
    elsewhere=("tensorflow",),
)
