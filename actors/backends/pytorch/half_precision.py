"""Which half precision a model computes in: the one that agrees better with float32, found without a GPU.

A GPU multiplies numbers of 16 bits, adds them up in 32, and rounds what comes out to 16. So the model runs in float32,
and weights, inputs and outputs of every module are rounded: that shows what rounding does to this model and where
its numbers leave the range of a type, on any device, and the same on each.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from actors.arrays import Floats
from actors.backends.precision import EXACT, Precision
from actors.backends.pytorch.torch_weights import load_model
from actors.backends.pytorch.transfer import named_device

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_NATIVE_CPU = ("amx_bf16", "amx_tile", "avx512_bf16", "bf16")
"""What torch calls the abilities of a CPU that multiplies numbers of bfloat16 by itself; the last one is Arm's."""
_NATIVE_GPU = (8, 0)
"""Compute capability of a GPU that does."""
_TEXTS = (
    "Who built the first lighthouse on the rock, and when did its lamp go out?",
    "Ada Lovelace was born in London in 1815; her notes on Babbage's engine appeared in 1843.",
    "The mill at the river had three wheels. Two of them were taken down in the winter of 1921, when the miller's sons "
    "moved to the town, and the third turned until a flood broke the weir. Since then the building has been a barn, a "
    "school for eleven years, and at last a museum, which is open from May to September (closed on Mondays).",
)
_LONGEST = 128
"""Tokens of a text that is tried, at most."""


def choose_half(folder: Path, on_gpu: bool) -> Precision:
    """What `model.precision: fast` is for the model of a folder; see `FastPrecision.choose`.

    Takes some passes over a few short texts, and beside the model twice its memory for as long.

    Raises:
        ModelError: the model cannot be loaded.
    """
    if not on_gpu:
        if computes_bfloat16():
            return Precision("bfloat16", "which this machine's CPU computes by itself")
        return Precision(EXACT, "this machine's CPU computes no half precision by itself")
    model = load_model(folder, with_qa_head=False).train(False)
    return better_half(differences(model, _token_ids(folder)), _gpu_lacks_bfloat16())


def better_half(off: dict[str, float], lacks_bfloat16: bool) -> Precision:
    """The type that agrees better with float32, of those whose numbers hold the model's.

    Args:
        off: how far each type is from float32, relative; not finite where numbers leave its range.
        lacks_bfloat16: of the GPU, if one is seen here.
    """
    told = ", ".join(f"{name} {_share(off[name])}" for name in off)
    said = f"hidden states against float32: {told}"
    usable = {name: value for name, value in off.items() if np.isfinite(value)}
    if lacks_bfloat16:
        usable.pop("bfloat16", None)
        said += "; the GPU does not compute bfloat16 by itself"
    if not usable:
        return Precision(EXACT, f"no half precision holds the model's numbers; {said}")
    return Precision(min(usable, key=lambda name: usable[name]), said)


@torch.inference_mode()
def differences(model: nn.Module, texts: Sequence[Sequence[int]]) -> dict[str, float]:
    """How far the last hidden states are from float32's when all numbers are rounded to each half precision.

    Args:
        model: an encoder of transformers, in float32.
        texts: token ids of some texts, special tokens included.

    Returns:
        By type, the size of the difference over the size of float32's states; NaN or inf where numbers leave the range.
    """
    exact = _states(model, texts)
    found = {}
    for name, dtype in _HALVES.items():
        off = _states(_rounding(model, dtype), texts) - exact
        found[name] = float(np.linalg.norm(off) / max(float(np.linalg.norm(exact)), 1e-9))
    return found


def computes_bfloat16() -> bool:
    """Whether torch says that this CPU computes bfloat16 by itself; others take many times as long as for float32."""
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    by_hand = (getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("amx_tile", "avx512_bf16"))
    return any(abilities.get(name) for name in _NATIVE_CPU) or any(is_supported() for is_supported in by_hand)


def is_slow_here(dtype: str) -> bool:
    """Whether this machine's CPU has to imitate this type."""
    return dtype != EXACT and (dtype != "bfloat16" or not computes_bfloat16())


def uses_gpu(device: str) -> bool:
    """Whether a model with this `model.device` computes on a GPU here.

    Raises:
        ModelError: torch knows no such device.
    """
    return torch.cuda.is_available() if device == "auto" else named_device(device).type != "cpu"


def _gpu_lacks_bfloat16() -> bool:
    """Whether a GPU is seen here, and too old for it."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() < _NATIVE_GPU


def _token_ids(folder: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return [tokenizer(text, truncation=True, max_length=_LONGEST)["input_ids"] for text in _TEXTS]


def _states(model: nn.Module, texts: Sequence[Sequence[int]]) -> Floats:
    """[T, D] last hidden states of all texts, each computed alone."""
    states = [model(input_ids=torch.tensor([list(ids)]))[0][0] for ids in texts]
    array: Floats = torch.cat(states).numpy()
    return array


def _rounding(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of the model that rounds its weights, and what goes into and comes out of every module."""
    rounded = copy.deepcopy(model)
    for weights in rounded.parameters():
        weights.copy_(_rounded(weights, dtype))
    for module in rounded.modules():
        if not list(module.children()):
            module.register_forward_pre_hook(lambda _, inputs: _rounded(inputs, dtype))
            module.register_forward_hook(lambda _, inputs, output: _rounded(output, dtype))
    return rounded


def _rounded(values: Any, dtype: torch.dtype) -> Any:
    if isinstance(values, tuple):
        return tuple(_rounded(value, dtype) for value in values)
    return values.to(dtype).float() if isinstance(values, Tensor) and values.is_floating_point() else values


def _share(value: float) -> str:
    return f"{value:.2%}" if np.isfinite(value) else "leaves its range"
