"""The weighted mean of the weights of models with one architecture, each trained on from the one before.

Such models lie in one basin of the loss, and their mean answers better than any of them (Wortsman et al. 2022, "Model
soups").

python models/average.py OUTPUT FIRST=0.5 SECOND=0.5
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from actors.training.student import load_base, save

_SEED = 0
"""Seed of a fresh QA head, which is not used: every model here has one."""


def main(target: Path, *weighted: str) -> None:
    """Writes a float16 model folder with the tokenizer of the first model; `weighted` are FOLDER=SHARE."""
    shares = {Path(folder): float(share) for folder, _, share in (item.rpartition("=") for item in weighted)}
    models = {folder: load_base(folder, _SEED) for folder in shares}
    first = next(iter(models))
    mean = average([(model.state_dict(), shares[folder]) for folder, model in models.items()])
    models[first].load_state_dict(mean)
    save(models[first], first, target, "float16")


def average(weighted: list[tuple[dict[str, Tensor], float]]) -> dict[str, Tensor]:
    """The mean of weights with the same names and shapes.

    Args:
        weighted: every model's weights, and its share; the shares are scaled to a sum of 1.
    """
    total = sum(share for _, share in weighted)
    names = weighted[0][0]
    return {name: sum((w[name] * (share / total) for w, share in weighted), torch.zeros(())) for name in names}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
