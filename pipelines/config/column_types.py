"""The types that a config may give to a carried column, by name."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml

_LIST = re.compile(r"list<(.+)>")
_DECIMAL = re.compile(r"decimal\((\d+), *(\d+)\)")


def types_as_text(columns: Sequence[str]) -> str:
    """The value of `corpus.types` that makes text of these columns, in one line of YAML."""
    types = dict.fromkeys(columns, "string")
    return yaml.safe_dump(types, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False).strip()


def parse_type(name: str) -> Any:
    """The Arrow type (pa.DataType) that a value of `corpus.types` names.

    Raises:
        ValueError: there is none of that name.
    """
    # Loaded only where a type is named: a config is read in processes that need no Arrow.
    import pyarrow as pa

    text = name.strip()
    if text in _scalars():
        return _scalars()[text]
    if found := _LIST.fullmatch(text):
        return pa.list_(pa.field("element", parse_type(found[1])))
    found = _DECIMAL.fullmatch(text)
    if found and 1 <= int(found[1]) <= 76 and int(found[2]) <= int(found[1]):
        precision, scale = int(found[1]), int(found[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    raise ValueError(
        f"there is no type {name!r}; there are {', '.join(_scalars())}, decimal(PRECISION, SCALE) and list<TYPE>"
    )


@cache
def _scalars() -> dict[str, Any]:
    import pyarrow as pa

    numbers = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    units = ("s", "ms", "us", "ns")
    return {
        "string": pa.string(),
        "large_string": pa.large_string(),
        "bool": pa.bool_(),
        **{str(type): type for type in numbers},
        "double": pa.float64(),
        "date": pa.date32(),
        **{f"timestamp[{unit}]": pa.timestamp(unit) for unit in units},
        **{f"timestamp[{unit}, UTC]": pa.timestamp(unit, "UTC") for unit in units},
    }
