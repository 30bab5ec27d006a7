"""Products with weights that are laid out beforehand for the CPU, where that is faster than torch's own.

torch multiplies float32 matrices by MKL, which leaves the wide registers of some CPUs unused: on two cores of an AMD
EPYC with AVX-512 it reached 215 GFLOP/s, and oneDNN, which is in torch for x86 too, 450 to 500. Which of the two is
faster is measured where the model is loaded.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]
"""Of [T, I] and weights: [T, O], a bias added and, where there is one, an activation applied."""
MakeProduct = Callable[[nn.Linear, Callable[[Tensor], Tensor] | None], Product]
"""Of a module, and the activation that follows it."""

_TOKENS = 512
"""Of the product that is timed, and for which weights are laid out; another number of them is as fast."""
_TRIES = 5
_CLEARLY_FASTER = 0.9
_DTYPES = (torch.float32, torch.bfloat16)


def plain(linear: nn.Linear, activation: Callable[[Tensor], Tensor] | None) -> Product:
    """By torch's own product."""
    return linear if activation is None else lambda states: activation(linear(states))


def laid_out(linear: nn.Linear, activation: Callable[[Tensor], Tensor] | None) -> Product:
    """By oneDNN, which applies the usual activation on the way; it holds a copy of the weights."""
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    weight, bias = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _TOKENS), linear.bias
    if activation is not None and not _is_gelu(activation):
        return lambda states: activation(multiply(states, weight, bias, "none", [], ""))
    name, form = ("none", "") if activation is None else ("gelu", "none")
    return lambda states: multiply(states, weight, bias, name, [], form)


def in_bfloat16(linear: nn.Linear, activation: Callable[[Tensor], Tensor] | None) -> Product:
    """As `laid_out`, of a float32 layer, whose weights and inputs are rounded to bfloat16; what comes out is float32.

    CPUs that compute bfloat16 by themselves multiply it twice as fast, and all but the products stays exact.
    """
    half = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
    half.weight = nn.Parameter(linear.weight.detach().bfloat16(), requires_grad=False)
    half.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().bfloat16(), requires_grad=False)
    product = laid_out(half, activation)
    return lambda states: product(states.bfloat16()).float()


@torch.inference_mode()
def multiplies_bfloat16() -> bool:
    """Whether torch has such products for this CPU."""
    try:
        in_bfloat16(nn.Linear(32, 32), None)(torch.ones(1, 32))
    except (AttributeError, RuntimeError):
        return False
    return True


def use_products(module: nn.Module, make: MakeProduct) -> Callable[[], None]:
    """Has a module compute with products in place of its linear layers, which keep their weights for whoever looks.

    Returns:
        What puts the layers back.
    """
    replaced = [
        (part, name, child)
        for part in module.modules()
        for name, child in part.named_children()
        if type(child) is nn.Linear
    ]
    for part, name, child in replaced:
        setattr(part, name, _LinearByProduct(child, make))

    def put_back() -> None:
        for part, name, child in replaced:
            setattr(part, name, child)

    return put_back


class _LinearByProduct(nn.Module):
    def __init__(self, linear: nn.Linear, make: MakeProduct) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._product = make(linear, None)

    def forward(self, states: Tensor) -> Tensor:
        return self._product(states)


@torch.inference_mode()
def fastest(example: nn.Linear) -> MakeProduct:
    """The faster of the two for a model that has such a layer, in the thread that calls; takes some milliseconds."""
    device, dtype = example.weight.device, example.weight.dtype
    if device.type != "cpu" or dtype not in _DTYPES or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return plain
    states = torch.ones((_TOKENS, example.in_features), dtype=dtype)
    try:
        # With the activation, which most models have and which not every CPU has such a product for.
        ours, theirs = laid_out(example, F.gelu), plain(example, F.gelu)
        took = [(_seconds(ours, states), _seconds(theirs, states)) for _ in range(_TRIES + 1)]
    except (AttributeError, RuntimeError):
        # torch promises neither the name of the function nor that every CPU and type has one.
        return plain
    mine, others = (min(times) for times in zip(*took[1:], strict=True))
    return laid_out if mine < _CLEARLY_FASTER * others else plain


def fastest_of(module: nn.Module) -> MakeProduct:
    """The faster of the two for the linear layers of a module, by its largest one."""
    linears = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return fastest(max(linears, key=lambda linear: linear.weight.numel())) if linears else plain


def _seconds(product: Product, states: Tensor) -> float:
    started = time.perf_counter()
    product(states)
    return time.perf_counter() - started


def _is_gelu(activation: object) -> bool:
    """Whether it is the exact one, by the error function; others are approximations of it."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return activation is F.gelu or getattr(activation, "act", None) is F.gelu
