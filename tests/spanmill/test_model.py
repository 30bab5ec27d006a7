"""Finding and placing a model: what callers may name, and what they are told otherwise."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spanmill.model import open_engine
from tests.actors.helpers import GOLDEN

MODEL = GOLDEN / "models" / "distilbert"


@pytest.mark.parametrize("device", [-1, "cpu", torch.device("cpu")])
def test_the_cpu_has_the_names_that_transformers_has_for_it(device: Any) -> None:
    engine = open_engine(MODEL, True, device=device, dtype=torch.float32)
    assert engine.hidden_size == open_engine(str(MODEL), True, device="auto").hidden_size


@pytest.mark.parametrize("device", [99, "cuda:99", torch.device("cuda:99")])
def test_a_gpu_that_is_not_there_is_said_to_be_missing(device: Any) -> None:
    with pytest.raises(ValueError, match=r"device 'cuda:99': there is no such GPU: .*For the CPU say device='cpu'"):
        open_engine(MODEL, True, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", [0, "cuda", "cuda:0"])
def test_the_first_gpu_may_be_missing_too(device: Any) -> None:
    with pytest.raises(ValueError, match="there is no such GPU"):
        open_engine(MODEL, True, device=device)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"device": "gpu"}, ValueError, "device 'gpu' is unknown; give 'auto', 'cpu', 'cuda'"),
        ({"device": True}, TypeError, "device is a bool; give 'auto'"),
        ({"device": 1.5}, TypeError, "device is a float; give 'auto'"),
        ({"dtype": "float8"}, ValueError, "dtype should be 'float32', .*, and is 'float8'"),
        ({"threads": 0}, ValueError, "threads should be greater than or equal to 1, and is 0"),
        ({"revision": 7}, ValueError, "revision should be a valid string, and is 7"),
        ({"storage": "s3"}, ValueError, "storage should be a valid dictionary, and is 's3'"),
        ({"model": None}, TypeError, "model is None; give 'minilm-qa', a local folder, "),
        ({"model": object()}, TypeError, "model is an object; give 'minilm-qa'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_engine(**{"model": Path(MODEL), "with_qa_head": True, **options})
