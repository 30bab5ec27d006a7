"""Losses against sums written out, row by row."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from actors.training.losses import distillation_loss, embedding_distance, span_loss, token_error

LENGTHS = (9, 4, 6)
"""Allowed columns of three windows of width 12: the first, which is CLS, and a stretch at their end."""


@pytest.fixture
def logits() -> list[Tensor]:
    """Start and end of a student, then of a teacher."""
    torch.manual_seed(3)
    return [torch.randn(3, 12) * 4 for _ in range(4)]


@pytest.fixture
def allowed() -> Tensor:
    mask = torch.zeros(3, 12, dtype=torch.bool)
    mask[:, 0] = True
    for row, length in enumerate(LENGTHS):
        mask[row, 12 - length : 11] = True
    return mask


def test_span_loss_is_cross_entropy_over_the_allowed_tokens(logits: list[Tensor], allowed: Tensor) -> None:
    labels = [(0, 0), (9, 10), (7, 8)]
    first, last = (torch.tensor(column) for column in zip(*labels, strict=True))
    expected = 0.0
    for row, label in enumerate(labels):
        for values, column in zip(logits[:2], label, strict=True):
            there = [math.exp(float(values[row, i])) for i in range(12) if allowed[row, i]]
            expected -= math.log(math.exp(float(values[row, column])) / sum(there)) / 6
    assert float(span_loss(logits[0], logits[1], allowed, first, last)) == pytest.approx(expected, rel=1e-5)


def test_tokens_of_the_question_get_no_gradient(logits: list[Tensor], allowed: Tensor) -> None:
    start, end = (values.requires_grad_() for values in logits[:2])
    column = torch.tensor([0, 9, 7])
    torch.autograd.backward(span_loss(start, end, allowed, column, column))
    for values in (start, end):
        assert values.grad is not None
        assert bool((values.grad[~allowed] == 0).all())
        assert bool((values.grad[allowed] != 0).all())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_is_the_divergence_from_the_teacher(
    logits: list[Tensor], allowed: Tensor, temperature: float
) -> None:
    expected = 0.0
    for ours, theirs in ((logits[0], logits[2]), (logits[1], logits[3])):
        for row in range(3):
            student, teacher = (Categorical(logits=v[row, allowed[row]] / temperature) for v in (ours, theirs))
            expected += float(kl_divergence(teacher, student)) * temperature**2 / 6
    distributions = [_distribution(values, allowed, temperature) for values in logits[2:]]
    found = distillation_loss((logits[0], logits[1]), (distributions[0], distributions[1]), allowed, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_nothing_is_left_to_learn_from_oneself(logits: list[Tensor], allowed: Tensor) -> None:
    # Logits that differ by a constant and in the question make the same distributions.
    other = torch.where(allowed, logits[1], torch.full_like(logits[1], 99.0))
    theirs = (_distribution(logits[0] + 5.0, allowed, 2.0), _distribution(other, allowed, 2.0))
    assert float(distillation_loss((logits[0], logits[1]), theirs, allowed, 2.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_window_of_which_the_teacher_says_nothing_adds_nothing(logits: list[Tensor], allowed: Tensor) -> None:
    theirs = [_distribution(values, allowed, 2.0) for values in logits[2:]]
    whole = [
        float(distillation_loss((a[None], b[None]), (c[None], d[None]), e[None], 2.0))
        for a, b, c, d, e in zip(logits[0], logits[1], *theirs, allowed, strict=True)
    ]
    silent = [values.clone() for values in theirs]
    for values in silent:
        values[1] = 0.0
    found = distillation_loss((logits[0], logits[1]), (silent[0], silent[1]), allowed, 2.0)
    assert float(found) == pytest.approx((whole[0] + whole[2]) / 3, rel=1e-5)


def _distribution(logits: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    return torch.softmax((logits / temperature).masked_fill(~allowed, float("-inf")), dim=-1)


@pytest.fixture
def vectors() -> tuple[Tensor, Tensor, Tensor]:
    """Of three texts of 7, 2 and 4 tokens, ours and those to keep; what stands in the padding is of no matter."""
    torch.manual_seed(4)
    hidden, kept = torch.randn(3, 7, 5), torch.randn(3, 7, 5)
    return hidden, kept, torch.arange(7) < torch.tensor(TOKENS)[:, None]


TOKENS = (7, 2, 4)


def test_the_token_error_is_a_share_of_the_squares(vectors: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, kept, mask = vectors
    off = there = 0.0
    for row, length in enumerate(TOKENS):
        for i in range(length):
            off += sum((float(a) - float(b)) ** 2 for a, b in zip(hidden[row, i], kept[row, i], strict=True))
            there += sum(float(b) ** 2 for b in kept[row, i])
    assert float(token_error(hidden, kept, mask)) == pytest.approx(off / there, rel=1e-5)
    assert float(token_error(kept, kept, mask)) == 0.0


def test_the_distance_is_one_minus_the_cosine_of_the_mean_tokens(vectors: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, kept, mask = vectors
    expected = 0.0
    for row, length in enumerate(TOKENS):
        ours, theirs = (
            [sum(float(values[row, i, d]) for i in range(length)) / length for d in range(5)]
            for values in (hidden, kept)
        )
        dot, *norms = (
            sum(a * b for a, b in zip(*both, strict=True)) for both in ((ours, theirs), [ours] * 2, [theirs] * 2)
        )
        expected += (1 - dot / math.sqrt(norms[0] * norms[1])) / 3
    assert float(embedding_distance(hidden, kept, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(embedding_distance(3 * kept, kept, mask)) == pytest.approx(0.0, abs=1e-6)
