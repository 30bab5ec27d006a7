"""The mean of models."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from actors.training.student import load_base, save
from models.average import average, main


def test_every_weight_counts_by_its_share() -> None:
    mean = average([({"w": torch.tensor([1.0, 4.0])}, 1.0), ({"w": torch.tensor([5.0, 0.0])}, 3.0)])
    torch.testing.assert_close(mean["w"], torch.tensor([4.0, 1.0]))


def test_models_of_other_shapes_have_no_mean() -> None:
    with pytest.raises(KeyError):
        average([({"w": torch.ones(2)}, 1.0), ({"v": torch.ones(2)}, 1.0)])


def test_the_mean_of_two_folders_is_a_folder_with_the_first_ones_tokenizer(
    tmp_path: Path, untrained_model: Path
) -> None:
    for seed in (1, 2):
        save(load_base(untrained_model, seed), untrained_model, tmp_path / str(seed), "float32")
    one, two = (load_file(tmp_path / str(seed) / "model.safetensors") for seed in (1, 2))
    two["qa_outputs.bias"][:] = 8.0
    other = load_base(untrained_model, 2)
    other.load_state_dict(two)
    save(other, untrained_model, tmp_path / "2", "float32")
    main(tmp_path / "mean", f"{tmp_path / '1'}=0.75", f"{tmp_path / '2'}=0.25")
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    expected = 0.75 * one["qa_outputs.bias"] + 0.25 * 8.0
    torch.testing.assert_close(mean["qa_outputs.bias"], expected.half())
    assert (tmp_path / "mean" / "tokenizer.json").read_bytes() == (untrained_model / "tokenizer.json").read_bytes()
