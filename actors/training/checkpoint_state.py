"""The bytes of a training checkpoint: model weights, optimizer state and the number of steps taken."""

import io

import torch
from torch import nn

from actors.errors import ModelError, first_line
from actors.training.trainer import Trainer


def dump_state(model: nn.Module, trainer: Trainer, step: int) -> bytes:
    """Serialises a checkpoint: weights, the trainer's state, and the number of steps taken."""
    sink = io.BytesIO()
    torch.save({"model": model.state_dict(), "learner": trainer.state(), "step": step}, sink)
    return sink.getvalue()


def load_state(data: bytes, model: nn.Module, trainer: Trainer | None, place: str) -> int:
    """Loads a checkpoint into the model, and into the trainer where one is given; returns the number of steps taken.

    Args:
        place: path of the checkpoint, for the error message.

    Raises:
        ModelError: the checkpoint is damaged, or belongs to another model.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        if trainer is not None:
            trainer.restore(state["learner"])
        return int(state["step"])
    except Exception as error:  # torch raises what pickle, zip and its own checks raise
        raise ModelError(
            f"{place}: the checkpoint cannot be used ({first_line(error)}). Remove it, and the same command goes on "
            "from the one before it, if there is one; or begin anew with --overwrite"
        ) from error
