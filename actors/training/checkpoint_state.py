"""What a checkpoint holds."""

import io

import torch
from torch import nn

from actors.errors import ModelError, first_line
from actors.training.trainer import Trainer


def dump_state(model: nn.Module, learner: Trainer, step: int) -> bytes:
    """A checkpoint: weights, the learner's state, and the number of steps taken."""
    sink = io.BytesIO()
    torch.save({"model": model.state_dict(), "learner": learner.state(), "step": step}, sink)
    return sink.getvalue()


def load_state(data: bytes, model: nn.Module, learner: Trainer | None, place: str) -> int:
    """Puts a checkpoint back; returns the number of steps taken.

    Args:
        place: where it was read, for the error.

    Raises:
        ModelError: it is damaged, or of another model.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        if learner is not None:
            learner.restore(state["learner"])
        return int(state["step"])
    except Exception as error:  # torch raises what pickle, zip and its own checks raise
        raise ModelError(
            f"{place}: the checkpoint cannot be used ({first_line(error)}). Remove it, and the same command goes on "
            "from the one before it, if there is one; or begin anew with --overwrite"
        ) from error
