"""One type for a column that has several: what was seen of it is joined, in any order, and then named as an Arrow type.

docs/bad-input.md has the table. Joining only ever adds to what was seen, so the order of files cannot matter; all rules
are in `SeenTypes.unified`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import pyarrow as pa

MOST_FIELDS = 1000
"""Fields of a struct that is a struct. Objects with more keys, all of them together, are maps in disguise: text."""

DEEPEST = 16
"""Lists and structs in one another; what lies deeper is text."""

_UNITS = ("s", "ms", "us", "ns")
_FAMILIES: Mapping[str, str] = {
    "signed": "number",
    "unsigned": "number",
    "floating": "number",
    "decimal": "number",
    "fixed_binary": "binary",
    "fixed_list": "list",
}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}
_MOST_DIGITS = {32: 9, 64: 18, 128: 38, 256: 76}
_DECIMALS = {32: pa.decimal32, 64: pa.decimal64, 128: pa.decimal128, 256: pa.decimal256}
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_FLOATING = {16: pa.float16(), 32: pa.float32(), 64: pa.float64()}


@dataclass(frozen=True)
class SeenTypes:
    """The types that a column was seen with; without any, only nulls were.

    `a | b` joins two of them: commutative, associative, and a join with itself changes nothing. Its size is that of the
    column's type, however many were joined.
    """

    levels: Mapping[str, int] = field(default_factory=dict)
    """Kind of type → the widest of it: bits, digits, time units; a join takes the larger one. A width that has to be
    the same everywhere is there twice, as itself and negated.
    """

    zones: frozenset[str] = frozenset()
    """Time zone of the timestamps that have one; UTC where they have several."""

    element: "SeenTypes | None" = None
    """Of lists."""

    fields: "Mapping[str, SeenTypes] | None" = None
    """Of structs."""

    order: tuple[str, ...] | None = None
    """Names of the fields as all structs had them; None where they differ."""

    entry: "tuple[SeenTypes, SeenTypes] | None" = None
    """Keys and values of maps."""

    @classmethod
    def of_type(cls, type: pa.DataType, depth: int = 0) -> "SeenTypes":
        """A column that is declared so.

        Raises:
            TypeError: it cannot be carried; the message says why.
        """
        if pa.types.is_dictionary(type):
            return cls.of_type(type.value_type, depth)
        if isinstance(type, pa.BaseExtensionType) and type != pa.uuid():
            return cls.of_type(type.storage_type, depth)
        if not pa.types.is_nested(type):
            return cls._of_scalar(type)
        if depth == DEEPEST:
            return _TOO_DEEP
        if pa.types.is_struct(type):
            return cls._of_struct(type, depth)
        if pa.types.is_map(type):
            entry = cls.of_type(type.key_type, depth + 1), cls.of_type(type.item_type, depth + 1)
            return cls({"map": 1}, entry=entry)
        if pa.types.is_fixed_size_list(type):
            return cls(_same("fixed_list", type.list_size), element=cls.of_type(type.value_type, depth + 1))
        if _is_list(type):
            large = pa.types.is_large_list(type) or pa.types.is_large_list_view(type)
            return cls({"list": 2 if large else 1}, element=cls.of_type(type.value_type, depth + 1))
        raise TypeError(f"{type} cannot be carried")

    @classmethod
    def of_values(cls, values: Sequence[Any], depth: int = 0) -> "SeenTypes":
        """JSON values: None, bool, int, float, str, list and dict. An integer beyond 64 bits counts as text."""
        by_kind: dict[type, list[Any]] = {}
        for value in values:
            by_kind.setdefault(type(value), []).append(value)
        seen = cls()
        for kind, some in by_kind.items():
            if kind is int:
                seen |= _of_integers(min(some), max(some))
            elif kind in _JSON_LEVELS:
                seen |= cls(_JSON_LEVELS[kind])
            elif depth == DEEPEST:
                seen |= _TOO_DEEP
            elif kind is list:
                seen |= cls({"list": 1}, element=cls.of_values(list(chain.from_iterable(some)), depth + 1))
            elif kind is dict:
                seen |= cls._of_objects(some, depth)
        return seen

    @classmethod
    def _of_objects(cls, objects: Sequence[Mapping[str, Any]], depth: int) -> "SeenTypes":
        by_name: dict[str, list[Any]] = {}
        for one in objects:
            for name, value in one.items():
                by_name.setdefault(name, []).append(value)
            if len(by_name) > MOST_FIELDS:
                # Whatever the other fields hold.
                return _TOO_DEEP
        fields = {name: cls.of_values(values, depth + 1) for name, values in by_name.items()}
        orders = {tuple(one) for one in objects}
        return cls({"struct": 1}, fields=fields, order=orders.pop() if len(orders) == 1 else None)

    @classmethod
    def _of_scalar(cls, type: pa.DataType) -> "SeenTypes":
        if type in _SCALARS:
            return cls(_SCALARS[type])
        if pa.types.is_decimal(type):
            whole = {"whole": type.precision - type.scale, "scale": max(type.scale, 0)}
            return cls({"decimal": type.bit_width, **whole})
        if pa.types.is_timestamp(type):
            unit = _UNITS.index(type.unit)
            return cls({"timestamp": unit}) if type.tz is None else cls({"instant": unit}, frozenset([type.tz]))
        if pa.types.is_fixed_size_binary(type):
            return cls(_same("fixed_binary", type.byte_width))
        raise TypeError(f"{type} cannot be carried")

    @classmethod
    def _of_struct(cls, type: pa.StructType, depth: int) -> "SeenTypes":
        names = tuple(one.name for one in type)
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if twice:
            raise TypeError(f"a struct with two fields named {min(twice)!r} cannot be carried")
        fields = {one.name: cls.of_type(one.type, depth + 1) for one in type}
        return cls({"struct": 1}, fields=fields, order=names)._bounded()

    def __or__(self, other: "SeenTypes") -> "SeenTypes":
        if self == other:
            return self
        names = {**self.levels, **other.levels}
        levels = {name: max(_level(self, name), _level(other, name)) for name in names}
        zones = self.zones | other.zones
        entry = tuple(map(_join, self.entry, other.entry)) if self.entry and other.entry else self.entry or other.entry
        joined = SeenTypes(
            levels,
            zones if len(zones) < 2 else frozenset(["UTC"]),
            _join(self.element, other.element),
            _join_fields(self.fields, other.fields),
            self._common_order(other),
            entry,  # type: ignore[arg-type]
        )
        return joined._bounded()

    def _common_order(self, other: "SeenTypes") -> tuple[str, ...] | None:
        if self.fields is None or other.fields is None:
            return other.order if self.fields is None else self.order
        return self.order if self.order == other.order else None

    def _bounded(self) -> "SeenTypes":
        if self.fields is None or len(self.fields) <= MOST_FIELDS:
            return self
        levels = {name: level for name, level in self.levels.items() if name != "struct"}
        return replace(self, levels={**levels, **_TEXT_OF_OTHERS}, fields=None, order=None)

    @property
    def is_nothing(self) -> bool:
        """Nothing but nulls."""
        return not self.levels

    @property
    def is_mixed(self) -> bool:
        """Some text of it stands for values that were no text, so that a further one is no surprise."""
        if _is_text(self.unified()):
            return bool(self.levels.keys() - {"text"})
        inner = (self.element, *(self.fields or {}).values(), *(self.entry or ()))
        return any(one is not None and one.is_mixed for one in inner)

    def unified(self) -> pa.DataType:
        """The type that holds all of them; text where nothing else does, or where only nulls were seen."""
        families = {_FAMILIES.get(name, name) for name in self.levels} - {"whole", "scale", "others"}
        families -= {name for name in families if name.startswith("-")}
        text = pa.large_string() if self.levels.get("text") == 2 else pa.string()
        if len(families) != 1 or "others" in self.levels:
            return text
        [family] = families
        return self._of_family(family) or text

    def _of_family(self, family: str) -> pa.DataType | None:
        """The one type for one kind of value; None for text."""
        level = self.levels.get(family, 0)
        if family == "number":
            return self._number()
        if family == "binary":
            width = _only(self.levels, "fixed_binary")
            return pa.binary(width) if width is not None else pa.large_binary() if level == 2 else pa.binary()
        if family == "list":
            return self._list()
        if family == "struct":
            names = sorted(self.fields or ()) if self.order is None else self.order
            fields = [pa.field(name, (self.fields or {})[name].unified()) for name in names]
            # Parquet has no struct without fields.
            return pa.struct(fields) if fields else None
        if family == "map" and self.entry is not None:
            return pa.map_(*(one.unified() for one in self.entry))
        if family in ("timestamp", "instant"):
            return pa.timestamp(_UNITS[level], next(iter(self.zones), None))
        if family == "time":
            return pa.time32(_UNITS[level]) if level < 2 else pa.time64(_UNITS[level])
        if family == "duration":
            return pa.duration(_UNITS[level])
        return _SINGLE.get((family, level))

    def _list(self) -> pa.DataType:
        element = pa.field("element", (self.element or SeenTypes()).unified())
        size = _only(self.levels, "fixed_list")
        if size is not None and "list" not in self.levels:
            return pa.list_(element, size)
        return pa.large_list(element) if self.levels.get("list") == 2 else pa.list_(element)

    def _number(self) -> pa.DataType | None:
        signed, unsigned, floating, bits = (
            self.levels.get(name, 0) for name in ("signed", "unsigned", "floating", "decimal")
        )
        if floating:
            return _FLOATING[64 if signed or unsigned or bits else floating]
        if bits or (signed and unsigned == 64):
            scale = self.levels.get("scale", 0)
            whole = max(self.levels.get("whole", 0), _DIGITS.get(signed, 0), _DIGITS.get(unsigned, 0))
            digits, widest = max(whole + scale, 1), max(bits, 32 if bits else 128)
            fitting = [width for width, most in _MOST_DIGITS.items() if width >= widest and most >= digits]
            return _DECIMALS[fitting[0]](digits, scale) if fitting else None
        if signed:
            return _SIGNED[max(signed, 2 * unsigned)]
        return _UNSIGNED[unsigned]


def _same(name: str, width: int) -> dict[str, int]:
    return {name: width, f"-{name}": -width}


def _only(levels: Mapping[str, int], name: str) -> int | None:
    """The width that all have, where all have one."""
    family = name.removeprefix("fixed_")
    same = name in levels and levels[name] == -levels[f"-{name}"] and family not in levels
    return levels[name] if same else None


_TEXT_OF_OTHERS = {"text": 1, "others": 1}
_TOO_DEEP = SeenTypes(_TEXT_OF_OTHERS)
_JSON_LEVELS: Mapping[type, Mapping[str, int]] = {
    type(None): {},
    bool: {"bool": 1},
    float: {"floating": 64},
    str: {"text": 1},
}
_SINGLE: Mapping[tuple[str, int], pa.DataType] = {
    ("bool", 1): pa.bool_(),
    ("date", 32): pa.date32(),
    ("date", 64): pa.date64(),
    ("uuid", 1): pa.uuid(),
}
_SCALARS: Mapping[pa.DataType, Mapping[str, int]] = {
    pa.null(): {},
    pa.string(): {"text": 1},
    pa.string_view(): {"text": 1},
    pa.large_string(): {"text": 2},
    pa.binary(): {"binary": 1},
    pa.binary_view(): {"binary": 1},
    pa.large_binary(): {"binary": 2},
    **{type: {family: level} for (family, level), type in _SINGLE.items()},
    **{type: {"signed": bits} for bits, type in _SIGNED.items()},
    **{type: {"unsigned": bits} for bits, type in _UNSIGNED.items()},
    **{type: {"floating": bits} for bits, type in _FLOATING.items()},
    **{pa.duration(unit): {"duration": rank} for rank, unit in enumerate(_UNITS)},
    **{(pa.time32 if rank < 2 else pa.time64)(unit): {"time": rank} for rank, unit in enumerate(_UNITS)},
}


def _of_integers(least: int, most: int) -> SeenTypes:
    """Integers of JSON: of 64 bits; some between 2^63 and 2^64 need the bit of the sign."""
    seen = SeenTypes()
    if least < 2**63 and most >= -(2**63):
        seen |= SeenTypes({"signed": 64})
    if most >= 2**63:
        seen |= SeenTypes({"unsigned": 64})
    return seen | _TOO_DEEP if least < -(2**63) or most >= 2**64 else seen


def _join(one: SeenTypes | None, other: SeenTypes | None) -> SeenTypes | None:
    return one | other if one is not None and other is not None else one or other


def _join_fields(
    one: Mapping[str, SeenTypes] | None, other: Mapping[str, SeenTypes] | None
) -> Mapping[str, SeenTypes] | None:
    if one is None or other is None:
        return other if one is None else one
    names: Iterable[str] = {**one, **other}
    return {name: one.get(name, SeenTypes()) | other.get(name, SeenTypes()) for name in names}


def _level(seen: SeenTypes, name: str) -> int:
    # Below every level that there is, those of negated widths included.
    return seen.levels.get(name, -(2**40))


def _is_list(type: pa.DataType) -> bool:
    is_any = (pa.types.is_list, pa.types.is_large_list, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(is_one(type) for is_one in is_any)


def _is_text(type: pa.DataType) -> bool:
    return type in (pa.string(), pa.large_string())
