"""What a runtime's error says of its device: that it is lost, or that it had no room for a pass.

Runtimes raise errors of many classes, and most of them tell only by their text what happened. Nothing is imported
here, so that any runtime's errors can be looked at where that runtime is not installed.
"""

import re

from actors.errors import DeviceLost, OutOfMemory, first_line

_NO_ROOM = re.compile(
    r"out of memory"  # torch on CUDA, HIP, XPU and MPS, CTranslate2, cudaErrorMemoryAllocation
    r"|can't allocate memory"  # torch's DefaultCPUAllocator
    r"|not enough memory"  # the same on Windows
    r"|STATUS_ALLOC_FAILED"  # cuBLAS, cuDNN, cuSPARSE, hipBLAS
    r"|(cuda|hip)Error(MemoryAllocation|OutOfMemory)"
    r"|OUT_OF_(DEVICE|HOST)_MEMORY|OUT_OF_RESOURCES|MEM_OBJECT_ALLOCATION_FAILURE"  # Level Zero, SYCL, OpenCL
    r"|failed to allocate memory|bad[_ ]alloc",  # ONNX Runtime, C++
    re.IGNORECASE,
)
_LOST = re.compile(
    # Not "device-side assert" alone: torch ends every CUDA error with a hint at "device-side assertions".
    r"illegal memory access|assert triggered|unspecified launch failure|launch timed out|illegal instruction"
    r"|misaligned address|global/shared address space|invalid program counter|hardware stack error"
    r"|uncorrectable (ECC|NVLink)|ECC error|context is destroyed|driver shutting down|busy or unavailable"
    r"|no (cuda|rocm)-capable device"
    r"|(cuda|hip)Error(IllegalAddress|LaunchFailure|LaunchTimeout|Assert|ECC|Unknown|NoDevice|DevicesUnavailable)"
    r"|(cuda|hip|xpu) error: (unknown error|initialization error)"
    r"|STATUS_(EXECUTION_FAILED|INTERNAL_ERROR)"  # cuBLAS and cuDNN, after whatever broke the device
    r"|device[ _]?(is |was )?(lost|removed)|gpu is lost|fallen off the bus",
    re.IGNORECASE,
)
_OF_THE_CALL = re.compile(
    r"invalid (argument|configuration|device ordinal|device function|value)|no kernel image|too many resources"
    r"|not supported|stream is capturing|STATUS_(INVALID_VALUE|NOT_SUPPORTED|ARCH_MISMATCH)",
    re.IGNORECASE,
)
"""Errors that a call gets without harm to the device: the next one may succeed."""


def device_error(error: Exception) -> OutOfMemory | DeviceLost | None:
    """What an error of a forward pass, or of loading a model, says of the device; None where it says nothing of it."""
    if isinstance(error, OutOfMemory | DeviceLost):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or _is_named(error, "OutOfMemoryError") or _NO_ROOM.search(text):
        return OutOfMemory(first_line(error))
    if _LOST.search(text) or (_is_named(error, "AcceleratorError") and not _OF_THE_CALL.search(text)):
        return DeviceLost(first_line(error))
    return None


def _is_named(error: Exception, name: str) -> bool:
    # torch.AcceleratorError came with torch 2.9, and torch is not imported here.
    return any(kind.__name__ == name for kind in type(error).__mro__)
