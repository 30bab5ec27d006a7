"""What runtimes' errors say of the device, by texts as the runtimes write them."""

import pickle

import pytest
import torch

from actors.backends.device_errors import device_error
from actors.errors import DeviceLost, OutOfMemory

HINT = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered" + HINT,
        "CUDA error: device-side assert triggered" + HINT,
        "CUDA error: unspecified launch failure" + HINT,
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: unknown error" + HINT,
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + HINT,
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, ...)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "Triton Error [CUDA]: misaligned address",
        "HIP error: an illegal memory access was encountered",
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=here",
        "CUDA failed with error unspecified launch failure",
        "cudaErrorLaunchFailure: unspecified",
        "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
    ],
)
def test_a_device_that_computes_nothing_any_more_is_lost(text: str) -> None:
    found = device_error(RuntimeError(text))
    assert isinstance(found, DeviceLost)
    assert str(found) == f"the device is lost: {text.splitlines()[0]}"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError("Unable to allocate 3.1 GiB for an array"),
        *map(
            RuntimeError,
            [
                "CUDA error: out of memory" + HINT,
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
                "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
                "HIP out of memory. Tried to allocate 2.00 GiB",
                "MPS backend out of memory (MPS allocated: 8.00 GB)",
                "XPU out of memory. Tried to allocate 2.00 GiB",
                "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)",
                "[enforce fail at alloc_cpu.cpp:124] data. DefaultCPUAllocator: not enough memory: you tried ...",
                "CUDA failed with error out of memory",
                "Failed to allocate memory for requested buffer of size 1073741824",
            ],
        ),
    ],
    ids=str,
)
def test_no_room_for_a_pass_is_out_of_memory(error: Exception) -> None:
    assert isinstance(device_error(error), OutOfMemory)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: invalid configuration argument" + HINT),
        torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device" + HINT),
        torch.AcceleratorError("CUDA error: invalid argument" + HINT),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        RuntimeError("No CUDA GPUs are available"),
        IndexError("index out of range in self"),
    ],
    ids=str,
)
def test_other_errors_say_nothing_of_the_device(error: Exception) -> None:
    assert device_error(error) is None


def test_torchs_own_class_for_errors_of_a_device_counts_whatever_its_text() -> None:
    assert isinstance(device_error(torch.AcceleratorError("CUDA error: something new")), DeviceLost)


def test_a_runtime_may_say_it_itself() -> None:
    lost, full = DeviceLost("the link is down"), OutOfMemory("full")
    assert device_error(lost) is lost
    assert device_error(full) is full
    again = pickle.loads(pickle.dumps(lost))
    assert (type(again), str(again)) == (DeviceLost, "the device is lost: the link is down")
