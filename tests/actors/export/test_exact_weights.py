"""Forms that hold bare tensors are made of one file in float32, and of nothing else."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from actors.errors import ModelError
from actors.export.exact_weights import exact_weights

ONES = np.ones((2, 3), np.float32)


def test_a_file_of_float32_and_integers_is_taken(tmp_path: Path) -> None:
    save_file({"weight": ONES, "positions": np.arange(3)}, tmp_path / "model.safetensors")
    assert exact_weights(tmp_path) == tmp_path / "model.safetensors"


def test_another_type_is_named(tmp_path: Path) -> None:
    save_file({"weight": ONES, "half.bias": ONES.astype(np.float16)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors: half\.bias is of the type F16, not F32"):
        exact_weights(tmp_path)


def test_a_file_that_is_missing_broken_or_cut_up_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        exact_weights(tmp_path)
    save_file({"weight": ONES}, tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="weights are cut into several files"):
        exact_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        exact_weights(tmp_path)
