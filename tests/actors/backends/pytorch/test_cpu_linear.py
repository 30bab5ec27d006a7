"""Products with weights laid out beforehand give what torch's own give, and are taken only where they are faster."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from actors.backends.pytorch import cpu_linear
from actors.backends.pytorch.cpu_linear import fastest, in_bfloat16, laid_out, multiplies_bfloat16, plain, use_products

needs_one_dnn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="torch has no oneDNN here",
)


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias)


@needs_one_dnn
@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new", "relu", "gelu_python"])
@pytest.mark.parametrize("tokens", [1, 3, 64, 513])
@torch.inference_mode()
def test_both_give_the_same(activation: str | None, tokens: int) -> None:
    after: Callable[[Tensor], Tensor] | None = None if activation is None else ACT2FN[activation]
    linear, states = _linear(48, 80), torch.randn(tokens, 48)
    torch.testing.assert_close(laid_out(linear, after)(states), plain(linear, after)(states), atol=1e-5, rtol=1e-5)
    bare = _linear(48, 80, bias=False)
    torch.testing.assert_close(laid_out(bare, after)(states), plain(bare, after)(states), atol=1e-5, rtol=1e-5)


@needs_one_dnn
@torch.inference_mode()
def test_a_view_of_a_larger_matrix_is_laid_out_too() -> None:
    whole = _linear(16, 96)
    part = nn.Linear(16, 32)
    part.weight = nn.Parameter(whole.weight[32:64], requires_grad=False)
    states = torch.randn(5, 16)
    torch.testing.assert_close(laid_out(part, None)(states), part(states), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(1.0, 2.0, laid_out), (1.0, 1.05, plain), (2.0, 1.0, plain)])
def test_the_faster_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, ours: float, theirs: float, expected: cpu_linear.MakeProduct
) -> None:
    linear, product = _linear(8, 8), nn.Identity()
    monkeypatch.setattr(cpu_linear, "_seconds", lambda timed, states: ours if timed is product else theirs)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(cpu_linear, "laid_out", lambda *_: product)
    assert fastest(linear) is (plain if expected is plain else cpu_linear.laid_out)


def test_where_torch_has_none_its_own_product_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(linear: nn.Linear, activation: object) -> cpu_linear.Product:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(cpu_linear, "laid_out", missing)
    assert fastest(_linear(8, 8)) is plain
    assert fastest(_linear(8, 8).to(torch.float16)) is plain


@pytest.mark.skipif(not multiplies_bfloat16(), reason="torch has no such products for this CPU")
@pytest.mark.parametrize("activation", [None, "gelu", "relu"])
@torch.inference_mode()
def test_products_in_bfloat16_take_and_give_float32(activation: str | None) -> None:
    after: Callable[[Tensor], Tensor] | None = None if activation is None else ACT2FN[activation]
    for linear in (_linear(48, 80), _linear(48, 80, bias=False)):
        states = torch.randn(7, 48)
        found, exact = in_bfloat16(linear, after)(states), plain(linear, after)(states)
        assert found.dtype is torch.float32
        assert 0 < (found - exact).abs().max() < 0.03


@needs_one_dnn
@torch.inference_mode()
def test_a_module_computes_with_such_products_and_gives_the_same() -> None:
    module = nn.Sequential(_linear(8, 12), nn.GELU(), nn.Sequential(_linear(12, 4), nn.LayerNorm(4)))
    states = torch.randn(2, 5, 8)
    before = module(states)
    put_back = use_products(module, laid_out)
    torch.testing.assert_close(module(states), before, atol=1e-6, rtol=1e-5)
    assert not any(type(part) is nn.Linear for part in module.modules())
    put_back()
    assert sum(type(part) is nn.Linear for part in module.modules()) == 2
    assert torch.equal(module(states), before)
