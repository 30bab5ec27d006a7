"""Attention within windows that lie end to end: one function, for any device and for GPUs in half precision."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor, "Windows"], Tensor]
"""Of queries, keys and values, [T, H, D / H] each, within the windows of a pass; [T, H, D / H]."""
_LEAST_CAPABILITY = (8, 0)
"""Of a GPU that torch's kernel for windows of any length runs on."""
_HALF = (torch.float16, torch.bfloat16)


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
        bounds = torch.zeros(len(self.lengths) + 1, dtype=torch.int32)
        torch.cumsum(torch.tensor(self.lengths, dtype=torch.int32), 0, out=bounds[1:])
        return bounds.to(self.device, non_blocking=True)

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
