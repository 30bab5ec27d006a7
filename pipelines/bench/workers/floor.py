"""The floor under the time of forward passes: how fast the device multiplies large matrices, as torch does it."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from actors.backends.pytorch.cpu_linear import fastest

_SIDE, _GPU_SIDE = 2048, 8192
_SECONDS = 0.5


def sgemm_flops_per_second() -> float:
    """The speed of a large float32 matrix product, as torch multiplies matrices, on the threads that torch uses."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    return _products_per_second(lambda: torch.mm(left, right)) * 2 * _SIDE**3


@torch.inference_mode()
def fastest_flops_per_second() -> float:
    """The speed of a large float32 product in the fastest way that the packed pass knows: see `cpu_linear`."""
    linear, states = nn.Linear(_SIDE, _SIDE), torch.randn(_SIDE // 2, _SIDE)
    product = fastest(linear)(linear, None)
    return _products_per_second(lambda: product(states)) * _SIDE**3


def gpu_flops_per_second(device: str, dtype: torch.dtype) -> float:
    """The speed of a large matrix product on a GPU."""
    left, right = (torch.randn(_GPU_SIDE, _GPU_SIDE, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(left, right)
        torch.cuda.synchronize(device)

    return _products_per_second(multiply) * 2 * _GPU_SIDE**3


def _products_per_second(multiply: Callable[[], object]) -> float:
    multiply()
    started, products = time.perf_counter(), 0
    while not products or time.perf_counter() - started < _SECONDS:
        multiply()
        products += 1
    return products / (time.perf_counter() - started)


class Floor:
    """Of the device of a run."""

    packages = ("torch",)
    precision = "float32"

    def __init__(self, setup: dict[str, Any]) -> None:
        torch.set_num_threads(setup["threads"])
        device: str = setup["device"]
        self._device = device.replace("auto", "cuda" if torch.cuda.is_available() else "cpu")

    def device(self) -> dict[str, str | None]:
        """Which one it is, and its name where it is a GPU."""
        name = None if self._device == "cpu" else torch.cuda.get_device_name(self._device)
        return {"device": self._device, "gpu": name}

    def rates(self) -> dict[str, float]:
        """Floating-point operations per second of large products, by what they are."""
        if self._device == "cpu":
            return {"sgemm": sgemm_flops_per_second(), "fastest float32 product": fastest_flops_per_second()}
        types = (torch.float32, torch.bfloat16, torch.float16)
        return {str(kind).removeprefix("torch."): gpu_flops_per_second(self._device, kind) for kind in types}


def load(setup: dict[str, Any]) -> Floor:
    """Of the device that the model runs on."""
    return Floor(setup)
