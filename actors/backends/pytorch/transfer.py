"""Numbers on their way to a device and back, beside what the device computes, and the time that it takes."""

import time
from typing import Protocol

import torch
from torch import Tensor

from actors.arrays import Flags, Floats, Ints, Longs
from actors.errors import ModelError, first_line


def named_device(name: str) -> torch.device:
    """The device of this name, whether it is there or not.

    Raises:
        ModelError: torch knows no such device.
    """
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"model.device: {name!r} is no device that torch knows: {first_line(error)}") from error


class Transfer:
    """Moves arrays to one device and back. To a GPU they go by pinned memory, and nobody waits for the copies."""

    def __init__(self, device: torch.device) -> None:
        """Takes the device."""
        self.device = device
        self._pinned = device.type == "cuda"

    def stage(self, array: Longs | Ints | Floats | Flags) -> Tensor:
        """The array as a tensor from which the device can copy."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._pinned else tensor

    def to_device(self, staged: Tensor) -> Tensor:
        """Has the device copy what `stage` gave, once it comes to it."""
        return staged.to(self.device, non_blocking=True)

    def to_host(self, tensor: Tensor) -> Tensor:
        """A tensor that holds the same numbers, floats as float32, once the device has come to here."""
        wanted = tensor.float() if tensor.is_floating_point() else tensor
        if not self._pinned:
            return wanted.cpu()
        host = torch.empty(wanted.shape, dtype=wanted.dtype, pin_memory=True)
        return host.copy_(wanted, non_blocking=True)


class Timer(Protocol):
    """The time that a device spends between two points of what it was told to do."""

    def stop(self) -> None:
        """The second point; the first is where the timer was made."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the device has come to the second point."""
        ...

    def seconds(self) -> float:
        """Waits for the second point; the seconds since the first."""
        ...


def start_timer(device: torch.device) -> Timer:
    """A timer of a device, by its own events where it works beside the thread that calls."""
    return _CudaTimer(device) if device.type == "cuda" else _HostTimer()


class _HostTimer:
    is_over = True

    def __init__(self) -> None:
        self._started, self._stopped = time.perf_counter(), 0.0

    def stop(self) -> None:
        self._stopped = time.perf_counter()

    def seconds(self) -> float:
        return self._stopped - self._started


class _CudaTimer:
    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device)
        self._first, self._second = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        self._first.record(self._stream)

    def stop(self) -> None:
        self._second.record(self._stream)

    @property
    def is_over(self) -> bool:
        return bool(self._second.query())  # type: ignore[no-untyped-call]

    def seconds(self) -> float:
        self._second.synchronize()
        return float(self._first.elapsed_time(self._second)) / 1000
