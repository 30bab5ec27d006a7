"""A SavedModel that TensorFlow reads in its own environment computes what torch does; other models are refused."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import pytest

from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.export.form import ExportTools
from actors.export.tensorflow import TENSORFLOW, TensorFlowBackend
from actors.export.weights import SAFETENSORS
from actors.parameters import ModelParameters
from tests.actors.export.conftest import HIDDEN, TOOLS, Exported, assert_close, golden_backend, golden_batch
from tests.actors.helpers import GOLDEN, MODELS

PYTHON = Path(__file__).parents[3] / "build" / "tensorflow" / "bin" / "python"
WITH_TENSORFLOW = ExportTools(pythons={"tensorflow": PYTHON}, threads=1)

# As docs/export-forms.md does, by each signature; prints types of inputs, shapes of outputs and a logit.
SIGNATURES = """
import json, sys
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
for name in sorted(model.signatures):
    call = model.signatures[name]
    inputs = call.structured_input_signature[1]
    kind = inputs["input_ids"].dtype
    found = call(**{key: tf.ones([2, 3], kind) for key in inputs})
    shapes = {key: value.shape.as_list() for key, value in sorted(found.items())}
    print(json.dumps([name, kind.name, sorted(inputs), shapes, float(found["start_logits"][0, 1])]))
"""


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """An export of BERT, of its safetensors alone, that may be spoilt."""
    return Path(copytree(exported("bert", SAFETENSORS), tmp_path / "copy"))


def _change(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "gelu_fast"}, "hidden_act in its config.json is gelu_fast, .* holds gelu, gelu_new, .* only"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type .* is relative_key, .* holds absolute only",
        ),
        ({"is_decoder": True}, "is_decoder in its config.json is True, .* holds False only; leave tensorflow out"),
        (
            {"model_type": "roberta-prelayernorm"},
            "model_type .* is roberta-prelayernorm, .* distilbert, bert, roberta only",
        ),
    ],
)
def test_a_model_that_it_would_compute_otherwise_is_refused(copy: Path, changes: dict[str, object], says: str) -> None:
    _change(copy, **changes)
    with pytest.raises(ModelError, match=says):
        TENSORFLOW.write(copy, copy, "float32", True, TOOLS)
    assert not TENSORFLOW.found(copy, "float32")


def test_a_python_that_is_not_there_is_named(copy: Path) -> None:
    tools = ExportTools(pythons={"tensorflow": Path("/no/such/python")})
    with pytest.raises(ModelError, match="TensorFlow's Python cannot be started: /no/such/python: No such file"):
        TENSORFLOW.write(copy, copy, "float32", True, tools)


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="tensorflow is installed here")
def test_without_tensorflow_it_says_what_to_do(copy: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install tensorflow-cpu .* name it with --python tensorflow=PATH"):
        TENSORFLOW.write(copy, copy, "float32", True, TOOLS)
    tools = ExportTools(pythons={"tensorflow": Path(sys.executable)})
    with pytest.raises(ModelError, match="ModuleNotFoundError: No module named 'tensorflow'"):
        TENSORFLOW.write(copy, copy, "float32", True, tools)
    assert TENSORFLOW.lacking(TOOLS) is not None
    assert TENSORFLOW.lacking(tools) is None


def test_a_folder_without_a_saved_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no saved_model/1/saved_model\.pb"):
        TENSORFLOW.open(tmp_path, "float32", TOOLS)


needs_tensorflow = pytest.mark.skipif(
    not PYTHON.exists(), reason="build/tensorflow is missing, which `make test-more` makes"
)


@pytest.mark.more
@needs_tensorflow
@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_torch_does_in_a_process_that_ends_with_it(copy: Path, exported: Exported, name: str) -> None:
    folder = Path(copytree(exported(name, SAFETENSORS), copy / name))
    TENSORFLOW.write(GOLDEN / "models" / name, folder, "float32", True, WITH_TENSORFLOW)
    assert {path.relative_to(folder).as_posix() for path in TENSORFLOW.found(folder, "float32")} >= {
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.index",
        "saved_model/1/variables/variables.data-00000-of-00001",
    }
    backend = TENSORFLOW.open(folder, "float32", WITH_TENSORFLOW)
    assert isinstance(backend, TensorFlowBackend)
    process = backend._program._process
    for _ in range(2):
        assert_close(backend, golden_backend(name), golden_batch(has_types=name == "bert"), 1e-4)
    assert process.poll() is None
    del backend
    assert process.returncode is not None


@pytest.mark.more
@needs_tensorflow
@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh"])
def test_every_activation_that_it_holds_is_that_of_torch(copy: Path, activation: str) -> None:
    _change(copy, hidden_act=activation, layer_norm_eps=1e-3)
    TENSORFLOW.write(copy, copy, "float32", True, WITH_TENSORFLOW)
    expected = TorchBackend(load_model(copy, with_qa_head=True), ModelParameters(device="cpu", threads=1))
    backend = TENSORFLOW.open(copy, "float32", WITH_TENSORFLOW)
    assert_close(backend, expected, golden_batch(has_types=True), 1e-4)


@pytest.mark.more
@needs_tensorflow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_a_head_gives_hidden_states(name: str, tmp_path: Path) -> None:
    folder = GOLDEN / "models" / name
    SAFETENSORS.write(folder, tmp_path, "float32", False, TOOLS)
    TENSORFLOW.write(folder, tmp_path, "float32", False, WITH_TENSORFLOW)
    backend = TENSORFLOW.open(tmp_path, "float32", WITH_TENSORFLOW)
    assert_close(backend, golden_backend(name), golden_batch(has_types=name == "bert"), 1e-4, HIDDEN)


@pytest.mark.more
@needs_tensorflow
def test_signatures_are_those_of_transformers_4_and_agree(copy: Path) -> None:
    TENSORFLOW.write(copy, copy, "float32", True, WITH_TENSORFLOW)
    words = [str(PYTHON), "-c", SIGNATURES, str(copy / "saved_model" / "1")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    long, default = map(json.loads, done.stdout.splitlines())
    inputs = ["attention_mask", "input_ids", "token_type_ids"]
    shapes = {"end_logits": [2, 3], "last_hidden_state": [2, 3, 32], "start_logits": [2, 3]}
    assert long[:4] == ["int64_serving", "int64", inputs, shapes]
    assert default[:4] == ["serving_default", "int32", inputs, shapes]
    assert long[4] == default[4]


@pytest.mark.more
@needs_tensorflow
def test_a_saved_model_that_is_damaged_is_told(copy: Path) -> None:
    (copy / "saved_model" / "1").mkdir(parents=True)
    (copy / "saved_model" / "1" / "saved_model.pb").write_bytes(b"no model")
    backend = TENSORFLOW.open(copy, "float32", WITH_TENSORFLOW)
    with pytest.raises(ModelError, match="TensorFlow's Python ended with exit code 1: "):
        backend.forward(golden_batch(has_types=True), True, None)
