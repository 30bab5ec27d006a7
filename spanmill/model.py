"""The model in this process that the classes of this package share: found, loaded, and asked with lists of texts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from actors.engine.engine import Engine
from actors.models.hub import find_model
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters

DEFAULT_MODEL = "minilm-qa"
"""The model that ships."""

CHUNK_ROWS = 1024
"""Texts that are tokenised and computed together: enough to sort by length, few enough to bound the memory."""

T = TypeVar("T")


def open_engine(
    model: str,
    with_qa_head: bool,
    *,
    device: str | int = "auto",
    precision: str = "auto",
    dtype: str | None = None,
    revision: str | None = None,
    threads: int | None = None,
    storage: dict[str, object] | None = None,
) -> Engine:
    """Finds (or downloads) a model and loads it.

    Raises:
        ModelError: it cannot be found or used.
        ValidationError: a parameter has no such value.
    """
    place = device if isinstance(device, str) else "cpu" if device < 0 else f"cuda:{device}"
    parameters = ModelParameters.model_validate(
        {"name": model, "device": place, "precision": precision, "dtype": dtype, "revision": revision}
        | {"threads": threads, "storage": storage or {}}
    )
    return load_engine(find_model(parameters), parameters, BatchingParameters(), with_qa_head)


def text_array(texts: Sequence[object], name: str, first: int = 0) -> pa.StringArray:
    """The texts as Arrow strings, [n].

    Args:
        name: what the texts are, for errors.
        first: number of the first text in what the caller was given, for errors.

    Raises:
        TypeError: one of them is no string.
        ValueError: one of them is not valid Unicode.
    """
    for number, text in enumerate(texts, start=first):
        if not isinstance(text, str):
            raise TypeError(f"{name} {number} is of type {type(text).__name__}; it must be a string")
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        number = first + next(i for i, text in enumerate(texts) if not _encodes(str(text)))
        raise ValueError(
            f"{name} {number} holds half of a surrogate pair, which is no text; "
            "mend it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        ) from None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def chunks(items: Iterable[T], size: int = CHUNK_ROWS) -> Iterator[list[T]]:
    """The items in lists of at most `size`, taken as they are needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
