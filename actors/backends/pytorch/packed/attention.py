"""Attention within windows that lie end to end: one function, for any device and for GPUs in half precision."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from actors.backends.pytorch.transfer import Transfer

Attention = Callable[[Tensor, Tensor, Tensor, "Windows"], Tensor]
"""Of queries, keys and values, [T, H, D / H] each, within the windows of a pass; [T, H, D / H]."""
_LEAST_CAPABILITY = (8, 0)
"""Of a GPU that torch's kernel for windows of any length runs on."""
_HALF = (torch.float16, torch.bfloat16)
_AT_ONCE = 1 << 19
"""Scores that are computed at once on a CPU: 2 MiB, which stay in its cache."""
_LONGEST = 512
"""Tokens of a window, at most, whose scores are computed as a whole on a CPU."""


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pass lie among its T tokens."""

    lengths: tuple[int, ...]
    """Tokens of each window, in the order in which they lie. Windows of one length side by side are attended at once,
    so they are best sorted."""
    device: torch.device

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """Length and number of windows side by side that are of one length."""
        return [(length, len(list(same))) for length, same in groupby(self.lengths)]

    @cached_property
    def bounds(self) -> Tensor:
        """[n + 1] int32, where each window begins, and T."""
        bounds = np.zeros(len(self.lengths) + 1, dtype=np.int32)
        np.cumsum(self.lengths, out=bounds[1:])
        transfer = Transfer(self.device)
        # By pinned memory: CUDA may wait for all passes before it copies any other.
        return transfer.to_device(transfer.stage(bounds))

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest window."""
        return max(self.lengths)


def attention_for(device: torch.device, dtype: torch.dtype) -> Attention:
    """The fastest that computes there."""
    if device.type == "cuda" and dtype in _HALF and torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY:
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:
            return attend_by_length
        return variable_length_kernel(varlen_attn) or attend_by_length
    if device.type == "cpu" and dtype is torch.float32:
        return AttentionInCache()
    return attend_by_length


def attend_by_length(query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
    """On any device, in any precision: one call for each group of windows of one length."""
    mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
    heads, width = query.shape[1:]
    first = 0
    for length, number in windows.groups:
        own = slice(first, first + length * number)
        shape = (number, length, heads, width)
        q, k, v = (values[own].view(shape).transpose(1, 2) for values in (query, key, value))
        mixed[own].view(shape).copy_(F.scaled_dot_product_attention(q, k, v).transpose(1, 2))
        first = own.stop
    return mixed


class AttentionInCache:
    """On a CPU in float32: the scores of a few windows at a time, in memory that every call uses again.

    Against torch's own attention it took 0.3 of the time for windows of 16 tokens, 0.8 for 190 and as much for 384, on
    two cores with AVX-512; scores in new memory, which has to be faulted in, took several times as long.

    Calls come from one thread at a time.
    """

    def __init__(self) -> None:
        """Takes memory as windows come."""
        self._room = torch.empty(0)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
        """See `Attention`."""
        if windows.longest > _LONGEST:
            return attend_by_length(query, key, value, windows)
        mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
        heads, first = query.shape[1], 0
        for length, number in windows.groups:
            at_once = max(1, min(number, _AT_ONCE // (heads * length**2)))
            stop = first + length * number
            for start in range(first, stop, length * at_once):
                own = slice(start, min(start + length * at_once, stop))
                self._attend(query[own], key[own], value[own], length, mixed[own])
            first = stop
        return mixed

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, length: int, mixed: Tensor) -> None:
        number, (_, heads, width) = len(query) // length, query.shape

        def by_head(values: Tensor) -> Tensor:
            return values.view(number, length, heads, width).transpose(1, 2).reshape(number * heads, length, width)

        scores = self._scores(number * heads, length)
        torch.baddbmm(scores, by_head(query), by_head(key).transpose(1, 2), beta=0, alpha=width**-0.5, out=scores)
        torch.softmax(scores, -1, out=scores)
        found = torch.bmm(scores, by_head(value)).view(number, heads, length, width)
        mixed.view(number, length, heads, width).copy_(found.transpose(1, 2))

    def _scores(self, products: int, length: int) -> Tensor:
        size = products * length**2
        if len(self._room) < size:
            self._room = torch.empty(size)
        return self._room[:size].view(products, length, length)


def variable_length_kernel(varlen_attn: Callable[..., Any]) -> Attention | None:
    """Attention by torch's own kernel, whose signature differs from release to release; None for one not known here."""
    taken = inspect.signature(varlen_attn).parameters
    if list(taken)[:7] != ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]:
        return None
    # One split: with several, what a window gets depends on how many share the pass.
    further: dict[str, Any] = {"num_splits": 1} if "num_splits" in taken else {}

    def attend(query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
        bounds, longest = windows.bounds, windows.longest
        mixed: Tensor = varlen_attn(query, key, value, bounds, bounds, longest, longest, **further)
        return mixed

    return attend
