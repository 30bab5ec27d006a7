"""Memory of a GPU: how much is free for a pass, and how much a pass took."""

import torch


class CudaMemory:
    """Of a GPU, as torch's allocator counts it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def limit(self) -> int | None:
        """Free bytes, the allocator's reserve included."""
        free, _ = torch.cuda.mem_get_info(self._device)
        reserve = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(free + reserve)

    def start(self) -> None:
        """Resets the allocator's high-water mark."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int | None:
        """From the allocator's high-water mark."""
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def release(self) -> None:
        """Empties the allocator's cache, which may lie in pieces."""
        torch.cuda.empty_cache()

    def tidy(self) -> None:
        """The allocator keeps what it has, for the next pass."""
