"""Checkpoints: the same bits back, and what is said of those that cannot be used."""

import io

import pytest
import torch

from actors.errors import ModelError
from actors.training.checkpoint_state import dump_state, load_state
from tests.actors.training.helpers import BERT, DISTILBERT, assembled, parameters, same_bits, take_steps, weights


def test_weights_optimizer_and_step_come_back() -> None:
    first = assembled(parameters())
    take_steps(first, 0, 3)
    data = dump_state(first.student, first.loop.trainer, 3)
    second = assembled(parameters())
    assert load_state(data, second.student, second.loop.trainer, "here") == 3
    assert same_bits(weights(first), weights(second))
    moments = [
        {
            f"{place}.{name}": value
            for place, state in one.loop.trainer.state()["optimizer"]["state"].items()
            for name, value in state.items()
        }
        for one in (first, second)
    ]
    assert len(moments[0]) > 20
    assert same_bits(*moments)


def test_a_checkpoint_from_before_there_were_means_of_weights_goes_on() -> None:
    first, second = assembled(parameters()), assembled(parameters())
    take_steps(first, 0, 3)
    state = torch.load(io.BytesIO(dump_state(first.student, first.loop.trainer, 3)), weights_only=True)
    del state["learner"]["mean"]
    old = io.BytesIO()
    torch.save(state, old)
    assert load_state(old.getvalue(), second.student, second.loop.trainer, "here") == 3
    for setup in (first, second):
        assert take_steps(setup, 3)
    assert same_bits(weights(first), weights(second))


def test_the_weights_alone_can_be_read() -> None:
    first, second = assembled(parameters()), assembled(parameters(seed=7))
    take_steps(first, 0, 1)
    assert load_state(dump_state(first.student, first.loop.trainer, 1), second.student, None, "here") == 1
    assert same_bits(weights(first), weights(second))


def _another_object() -> bytes:
    sink = io.BytesIO()
    torch.save([1, 2], sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def good() -> bytes:
    setup = assembled(parameters())
    take_steps(setup, 0, 1)
    return dump_state(setup.student, setup.loop.trainer, 1)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "object"])
def test_a_damaged_checkpoint_is_named_and_the_mend(good: bytes, damage: str) -> None:
    data = {"empty": b"", "cut": good[: len(good) // 2], "text": b"hello", "object": _another_object()}[damage]
    setup = assembled(parameters())
    with pytest.raises(
        ModelError, match=r"^s3://b/run\.pt: the checkpoint cannot be used .*Remove it, and .*--overwrite"
    ):
        load_state(data, setup.student, setup.loop.trainer, "s3://b/run.pt")


def test_a_checkpoint_of_another_model(good: bytes) -> None:
    other = assembled(parameters(), base=BERT)
    assert DISTILBERT != BERT
    with pytest.raises(ModelError, match="the checkpoint cannot be used"):
        load_state(good, other.student, other.loop.trainer, "here")


def test_a_checkpoint_with_code_in_it_is_not_run() -> None:
    sink = io.BytesIO()
    torch.save({"model": _Loud()}, sink)
    setup = assembled(parameters())
    with pytest.raises(ModelError, match="the checkpoint cannot be used"):
        load_state(sink.getvalue(), setup.student, None, "here")


class _Loud:
    def __reduce__(self) -> tuple[object, ...]:
        return (exit, (3,))
