"""What callers pass: the forms in which people have texts, files and settings, and what they are told otherwise."""

from collections.abc import Iterable, Mapping, Sequence, Set
from os import PathLike, fspath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ValidationError

S = TypeVar("S", bound=BaseModel)


def checked(kind: type[S], values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> S:
    """Settings with these values.

    Args:
        names: what the caller knows a key as, where that is another name.

    Raises:
        TypeError: there is no such parameter.
        ValueError: a value cannot be used.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        name = (names or {}).get(key, key)
        if problem["type"] == "extra_forbidden":
            raise TypeError(f"unknown parameter {name}; there are {', '.join(sorted(kind.model_fields))}") from None
        message = str(problem["msg"]).removeprefix("Value error, ").replace("Input", name, 1)
        # Of pydantic's own checks; ours say what the value is.
        is_ours = problem["type"] == "value_error"
        raise ValueError(
            message if is_ours or name not in message else f"{message}, and is {problem['input']!r}"
        ) from None


def text_list(values: object, name: str) -> list[Any]:
    """Many texts as a list: of a list or generator, a NumPy array, a column of pandas, Arrow or datasets.

    Args:
        name: of the argument, for errors.

    Raises:
        TypeError: it is nothing of the kind; the items are not looked at.
        ValueError: an array is not one-dimensional.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return list(values.to_pylist())
    if isinstance(values, bytes | bytearray):
        raise TypeError(f"{name} is bytes; decode it: {name}.decode()")
    # The order of a set is not that in which it was written, and a table or mapping gives its names.
    if isinstance(values, Mapping | Set) or is_table(values) or not is_iterable(values):
        raise TypeError(
            f"{name} is {kind_of(values)}; give a string, or many of them: a list, or one column of a data frame"
        )
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise ValueError(
            f"{name} is an array of shape {list(values.shape)}; give one of shape [n], one text an element"
        )
    items: Iterable[Any] = values  # type: ignore[assignment]
    return list(items)


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
            raise TypeError(f"{name} {number} is of type {type(text).__name__}; {_mend(text)}")
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        number = first + next(i for i, text in enumerate(texts) if not _encodes(str(text)))
        raise ValueError(
            f"{name} {number} holds half of a surrogate pair, which is no text; "
            "mend it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        ) from None


def path(value: object, name: str) -> str:
    """A path or URL as text.

    Raises:
        TypeError: it is none.
    """
    found = fspath(value) if isinstance(value, PathLike) else value
    if not isinstance(found, str):
        raise TypeError(f"{name} is {kind_of(value)}; give a path or URL, as a string or pathlib.Path")
    return found


def is_table(value: object) -> bool:
    """Whether it has named columns: a data frame, a table of Arrow, a dataset."""
    return hasattr(value, "columns") or hasattr(value, "column_names")


def column_names(table: Any) -> list[str]:
    """Names of a table's columns; `table[name]` is the column."""
    return [str(name) for name in (table.column_names if hasattr(table, "column_names") else table.columns)]


def is_iterable(value: object) -> bool:
    """Whether `for` takes it, as it takes objects that only have `__getitem__`, too."""
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def kind_of(value: object) -> str:
    """What a value is, for a sentence: None, or the name of its type with an article."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _mend(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return "decode it, so that it is a string"
    # NaN, NaT and pandas' NA stand for a missing value, and none of them equals itself.
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return "a text is missing there: leave it out"
    return "it must be a string"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
