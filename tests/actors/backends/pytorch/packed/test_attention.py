"""Attention within windows that lie end to end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.backends.pytorch.packed.attention import (
    AttentionInCache,
    Windows,
    attend_by_length,
    attention_for,
    variable_length_kernel,
)

CPU = torch.device("cpu")


def _by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), value)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_every_window_attends_to_itself_alone(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(len(lengths))
    # As they come out of one product: views whose neighbours in memory are of another kind.
    query, key, value = torch.randn(sum(lengths), 3, 2, 4, generator=generator).unbind(1)
    in_cache, ends = AttentionInCache(), np.cumsum(lengths)
    # Twice, since the second time it finds the scores of the first in its memory.
    for attend in (attend_by_length, in_cache, in_cache):
        mixed = attend(query, key, value, Windows(tuple(lengths), CPU))
        for first, stop in zip(ends - lengths, ends, strict=True):
            own = slice(first, stop)
            torch.testing.assert_close(mixed[own], _by_hand(query[own], key[own], value[own]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", [(300,) * 3, (40,) * 200, (600, 20)], ids=["one by one", "in parts", "very long"])
def test_windows_that_are_not_attended_at_once(lengths: tuple[int, ...]) -> None:
    query, key, value = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(0)).unbind(1)
    windows = Windows(lengths, CPU)
    mixed = AttentionInCache()(query, key, value, windows)
    torch.testing.assert_close(mixed, attend_by_length(query, key, value, windows), atol=1e-5, rtol=0)


def test_windows_know_where_they_lie() -> None:
    windows = Windows((3, 3, 5, 3), CPU)
    assert windows.groups == [(3, 2), (5, 1), (3, 1)]
    assert windows.bounds.tolist() == [0, 3, 6, 11, 14]
    assert windows.bounds.dtype == torch.int32
    assert windows.longest == 5


def test_a_cpu_has_no_kernel_for_windows_of_any_length() -> None:
    assert attention_for(CPU, torch.bfloat16) is attend_by_length
    assert isinstance(attention_for(CPU, torch.float32), AttentionInCache)


def test_the_kernel_of_this_torch_takes_what_is_passed() -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no such kernel")
    attend = variable_length_kernel(varlen.varlen_attn)
    assert attend is not None
    # It has no code for a CPU: that it gets as far as looking for some is all that can be seen here.
    states = torch.zeros(4, 2, 8, dtype=torch.bfloat16)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"CPU|cuda|CUDA"):
        attend(states, states, states, Windows((2, 2), CPU))


def test_a_kernel_with_another_signature_is_left_alone() -> None:
    def older(query: torch.Tensor, key: torch.Tensor, cu_seq: torch.Tensor) -> None:
        raise AssertionError

    assert variable_length_kernel(older) is None
