"""What a call in a process of its own gives and raises."""

import os

import pytest

from actors.errors import ModelError
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from pipelines.errors import JobError
from pipelines.job.side_process import in_side_process


def test_it_gives_what_the_function_gives_whatever_is_printed() -> None:
    assert in_side_process(os.write, 1, b"what a library prints") == len(b"what a library prints")
    assert in_side_process(int, "ff", base=16) == 255


def test_it_raises_what_the_function_raises_or_that_it_ended() -> None:
    with pytest.raises(ModelError, match="there is no folder /nowhere"):
        in_side_process(find_model, ModelParameters(name="/nowhere"))
    with pytest.raises(JobError, match="run _exit ended early, with exit code 3"):
        in_side_process(os._exit, 3)
