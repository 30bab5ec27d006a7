"""The model in this process that the classes of this package share: found, loaded, and given its place."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from numbers import Integral
from os import PathLike, fspath
from typing import TYPE_CHECKING, TypeVar

from actors.engine.engine import Engine
from actors.models.hub import find_model
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters
from spanmill.arguments import checked, kind_of

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "minilm-qa"
"""The model that ships."""

CHUNK_ROWS = 1024
"""Texts that are tokenised and computed together: enough to sort by length, few enough to bound the memory."""

_DEVICES = "give 'auto', 'cpu', 'cuda' or 'cuda:1', or a number: 0 for the first GPU, -1 for the CPU"

T = TypeVar("T")


def open_engine(
    model: str | PathLike[str],
    with_qa_head: bool,
    *,
    device: "str | int | torch.device | None" = "auto",
    precision: str = "auto",
    dtype: "str | torch.dtype | None" = None,
    revision: str | None = None,
    threads: int | None = None,
    storage: dict[str, object] | None = None,
) -> Engine:
    """Finds (or downloads) a model and loads it.

    Raises:
        ModelError: it cannot be found or used.
        TypeError: the model or the device is named by something else than its name.
        ValueError: a parameter has no such value, or there is no such device.
    """
    if not isinstance(model, str | PathLike):
        raise TypeError(f"model is {kind_of(model)}; give 'minilm-qa', a local folder, a hub id or a URL of a folder")
    values = {
        "name": fspath(model),
        "device": _place(device),
        "precision": precision,
        "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
        "revision": revision,
        "threads": threads,
        "storage": storage or {},
    }
    parameters = checked(ModelParameters, values, {"name": "model"})
    return load_engine(find_model(parameters), parameters, BatchingParameters(), with_qa_head)


def _place(device: object) -> str:
    """The name of a device that is there.

    Args:
        device: a name, or, as transformers' pipeline takes it, a number (below 0 the CPU), a torch.device or None.
    """
    name = "auto" if device is None else str(device)
    if isinstance(device, Integral) and not isinstance(device, bool):
        name = "cpu" if int(device) < 0 else f"cuda:{int(device)}"
    elif device is not None and not isinstance(device, str) and type(device).__name__ != "device":
        raise TypeError(f"device is {kind_of(device)}; {_DEVICES}")
    if name.partition(":")[0] not in ("auto", "cpu", "cuda", "mps", "xpu"):
        raise ValueError(f"device {name!r} is unknown; {_DEVICES}")
    if gpu := re.fullmatch(r"cuda(?::(\d+))?", name):
        _check_gpu(name, int(gpu[1] or 0))
    return name


def _check_gpu(name: str, number: int) -> None:
    """Raises ValueError where torch sees no such GPU, whose own error would be one of its inner parts."""
    import torch

    count = torch.cuda.device_count()
    if number < count:
        return
    if torch.version.cuda is None and torch.version.hip is None:
        why = "this torch is built without CUDA, so install one with it (https://pytorch.org/get-started)"
    elif count == 0:
        why = "torch sees no GPU here; `nvidia-smi` and CUDA_VISIBLE_DEVICES tell more"
    else:
        why = f"torch sees {count}, and counts from 0"
    raise ValueError(f"device {name!r}: there is no such GPU: {why}. For the CPU say device='cpu'")


def chunks(items: Iterable[T], size: int = CHUNK_ROWS) -> Iterator[list[T]]:
    """The items in lists of at most `size`, taken as they are needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
