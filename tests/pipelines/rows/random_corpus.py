"""Random corpora: files of random schemas with a few rows each, and what every row holds."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.rows.plain_arrays import plain_column
from tests.pipelines.helpers import compressed

NAMES = ("plain", "with.dot", "with space", "é", "null", "a{b}")
FIELDS = ("a", "b", "c.d", "")
NO_ID = object()
"""An id that becomes the default one."""


@dataclass
class Row:
    """A row as it was written."""

    id: str | object
    """The text that its id has to become, or NO_ID."""
    values: dict[str, Any]
    """Carried columns: Python values. A column that the file lacks is missing."""
    is_good: bool
    """Whether it has texts."""
    types: dict[str, pa.DataType] = field(default_factory=dict)
    """Of the values, in Parquet."""


@dataclass
class Corpus:
    """Files in a folder, in the order in which a job reads them."""

    folder: Path
    rows: dict[str, list[Row]]
    """Of every file."""
    carry: tuple[str, ...]

    @property
    def all_rows(self) -> list[Row]:
        """Of all files."""
        return [row for name in sorted(self.rows) for row in self.rows[name]]


def make_corpus(seed: int, folder: Path) -> Corpus:
    """One to five files with up to 12 rows each, the same for the same seed."""
    rng = random.Random(seed)
    carry = tuple(rng.sample(NAMES, rng.randint(1, 3)))
    # Types of one column resemble each other, or no two of them would be joined to anything but text.
    kinds = {name: rng.choice([None, None, *_KINDS]) for name in carry}
    rows = {}
    for number in range(rng.randint(1, 5)):
        names = [name for name in carry if number == 0 or rng.random() < 0.85]
        write, suffix = rng.choice([(_write_parquet, "parquet"), (_write_jsonl, "jsonl")])
        name = f"{number}.{suffix}"
        rows[name] = write(rng, folder / name, {name: kinds[name] for name in names})
        if suffix == "jsonl" and rng.random() < 0.2:
            (folder / name).write_bytes(compressed((folder / name).read_bytes(), "gzip"))
            (folder / name).rename(folder / f"{name}.gz")
            rows[f"{name}.gz"] = rows.pop(name)
    return Corpus(folder, rows, carry)


# Values


def _text(rng: random.Random) -> str:
    return rng.choice(
        ["", "x", "02134", "5", "1.50", "true", "2020-01-10", "é" * 20, "[1]", "a\x00b", "NaN", "😀", '"']
    )


def _double(rng: random.Random) -> float:
    return rng.choice([0.0, -0.0, 1.0, 0.1, 5.5, 1e16, 1e300, 2.0**53, 5e-324, -123.25, rng.random()])


def _moment(rng: random.Random, zone: Any = None) -> datetime:
    return datetime(rng.randint(1900, 2200), 2, 28, rng.randint(0, 23), 1, 2, rng.choice([0, 120000, 123456]), zone)


_SCALARS: dict[str, list[tuple[pa.DataType, Callable[[random.Random], Any]]]] = {
    "null": [(pa.null(), lambda rng: None)],
    "integer": [
        (pa.int8(), lambda rng: rng.randint(-128, 127)),
        (pa.int16(), lambda rng: rng.randint(-9, 9)),
        (pa.int32(), lambda rng: rng.choice([0, -1, 2**31 - 1, -(2**31)])),
        (pa.int64(), lambda rng: rng.choice([0, 7, 2**53 + 1, 2**63 - 1, -(2**63)])),
        (pa.uint16(), lambda rng: rng.randint(0, 2**16 - 1)),
        (pa.uint64(), lambda rng: rng.choice([0, 2**64 - 1, 2**63])),
    ],
    "floating": [
        (pa.float16(), lambda rng: rng.choice([0.5, 1.0, -2.0, math.nan])),
        (pa.float32(), lambda rng: rng.choice([0.5, 2.0**20, math.inf, -1.0])),
        (pa.float64(), lambda rng: rng.choice([_double(rng), math.nan, -math.inf])),
    ],
    "decimal": [
        (pa.decimal32(5, 2), lambda rng: Decimal(rng.randint(-99999, 99999)).scaleb(-2)),
        (pa.decimal128(38, 0), lambda rng: Decimal(rng.choice([5, 10**37, -(10**20) - 1]))),
        (pa.decimal128(20, 10), lambda rng: Decimal(rng.randint(0, 10**19)).scaleb(-10)),
        (pa.decimal256(60, 30), lambda rng: Decimal(rng.randint(0, 10**40)).scaleb(-30)),
    ],
    "text": [
        (pa.string(), _text),
        (pa.large_string(), _text),
        (pa.string_view(), _text),
        (pa.dictionary(pa.int32(), pa.string()), _text),
        (pa.dictionary(pa.int8(), pa.large_string()), _text),
        (pa.json_(), _text),
    ],
    "binary": [
        (pa.binary(), lambda rng: rng.choice([b"", b"\xff\x00", b"abcd"])),
        (pa.large_binary(), lambda rng: rng.choice([b"", b"\xfe" * 30])),
        (pa.binary_view(), lambda rng: rng.choice([b"x", b"y" * 30])),
        (pa.binary(4), lambda rng: rng.choice([b"\x00\x01\x02\x03", b"abcd"])),
        (pa.dictionary(pa.int32(), pa.binary()), lambda rng: rng.choice([b"x", b"y" * 30])),
    ],
    "bool": [(pa.bool_(), lambda rng: rng.random() < 0.5)],
    "date": [(pa.date32(), lambda rng: date(rng.randint(1, 9999), 1, rng.randint(1, 31)))],
    "time": [
        (pa.time32("ms"), lambda rng: time(rng.randint(0, 23), 2, 3, rng.choice([0, 5000]))),
        (pa.time64("us"), lambda rng: time(1, 2, 3, rng.randint(0, 999_999))),
    ],
    "timestamp": [
        (pa.timestamp("ms"), lambda rng: _moment(rng).replace(microsecond=rng.choice([0, 5000]))),
        (pa.timestamp("us"), _moment),
        (pa.timestamp("us", "UTC"), lambda rng: _moment(rng, UTC)),
        (pa.timestamp("ms", "Europe/Berlin"), lambda rng: _moment(rng, UTC).replace(microsecond=0)),
    ],
    "duration": [(pa.duration("us"), lambda rng: timedelta(microseconds=rng.randint(-(10**9), 10**9)))],
    "uuid": [(pa.uuid(), lambda rng: rng.randbytes(16))],
}
_KINDS = (*_SCALARS, "list", "struct", "map")


def random_type(rng: random.Random, kind: str | None, depth: int = 0) -> pa.DataType:
    """A type of a kind; of any kind for None."""
    kind = kind or rng.choice(_KINDS)
    if kind in _SCALARS:
        return rng.choice(_SCALARS[kind])[0]
    inner = rng.choice([None, "integer", "text"]) if depth < 2 else rng.choice(list(_SCALARS))
    if kind == "list":
        make = rng.choice([pa.list_, pa.large_list, pa.list_view, pa.large_list_view, lambda type: pa.list_(type, 2)])
        return make(random_type(rng, inner, depth + 1))
    if kind == "map":
        key = rng.choice([pa.string(), pa.int16(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
        return pa.map_(key, random_type(rng, inner, depth + 1))
    names = rng.sample(FIELDS, rng.randint(1, len(FIELDS)))
    return pa.struct(
        [(name, random_type(rng, rng.choice([None, "integer"]) if depth < 2 else "text", depth + 1)) for name in names]
    )


def random_array(rng: random.Random, type: pa.DataType, length: int, nulls: float = 0.2) -> pa.Array:
    """Random values of a type."""
    missing = [rng.random() < nulls for _ in range(length)]
    mask = pa.array(missing, pa.bool_())
    if pa.types.is_struct(type):
        return pa.StructArray.from_arrays(
            [random_array(rng, one.type, length) for one in type], fields=list(type), mask=mask
        )
    if pa.types.is_nested(type):
        return _random_lists(rng, type, length, missing)
    [make] = [make for some in _SCALARS.values() for one, make in some if one == type]
    values = [None if gone else make(rng) for gone in missing]
    if isinstance(type, pa.JsonType):
        return pa.ExtensionArray.from_storage(type, pa.array(values, type.storage_type))
    if pa.types.is_dictionary(type):
        coded = pa.array(values, type.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(coded.indices.cast(type.index_type), coded.dictionary)
    return pa.array(values, type)


def _random_lists(rng: random.Random, type: pa.DataType, length: int, missing: list[bool]) -> pa.Array:
    size = type.list_size if pa.types.is_fixed_size_list(type) else None
    lengths = [size if size is not None else 0 if gone else rng.randint(0, 3) for gone in missing]
    offsets = [sum(lengths[:number]) for number in range(length + 1)]
    mask = pa.array(missing, pa.bool_())
    if pa.types.is_map(type):
        keys, items = (
            random_array(rng, type.key_type, offsets[-1], nulls=0),
            random_array(rng, type.item_type, offsets[-1]),
        )
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, items, mask=mask)
    child = random_array(rng, type.value_type, offsets[-1])
    if size is not None:
        return pa.FixedSizeListArray.from_arrays(child, type=type, mask=mask)
    if pa.types.is_list_view(type) or pa.types.is_large_list_view(type):
        large = pa.types.is_large_list_view(type)
        make = pa.LargeListViewArray if large else pa.ListViewArray
        width = pa.int64() if large else pa.int32()
        return make.from_arrays(pa.array(offsets[:-1], width), pa.array(lengths, width), child, mask=mask)
    if pa.types.is_large_list(type):
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), child, mask=mask)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), child, mask=mask)


def random_json(rng: random.Random, kind: str | None, depth: int = 0) -> Any:
    """A JSON value of a kind; of any kind for None."""
    if rng.random() < 0.15:
        return None
    kind = kind or rng.choice(["integer", "floating", "text", "bool", "list", "struct"])
    if kind == "list" and depth < 3:
        inner = rng.choice([None, "integer", "text", "struct"])
        return [random_json(rng, inner, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind in ("struct", "map") and depth < 3:
        names = rng.sample(FIELDS, rng.randint(0, 3))
        return {name: random_json(rng, rng.choice([None, "integer"]), depth + 1) for name in names}
    if kind == "integer":
        return rng.choice([0, 7, -1, 2**53 + 1, 2**63 - 1, 2**64 - 1, 2**64, -(2**63) - 1])
    if kind in ("floating", "decimal"):
        return rng.choice([_double(rng), 5])
    return rng.random() < 0.5 if kind == "bool" else None if kind == "null" else _text(rng)


# Files


def _texts(rng: random.Random) -> Iterator[tuple[str | None, bool]]:
    while True:
        yield ("Who?", True) if rng.random() < 0.85 else (rng.choice([None, "", " \t"]), False)


_IDS: list[tuple[pa.DataType, Callable[[random.Random], Any], Callable[[Any], Any]]] = [
    (pa.string(), lambda rng: f"q{rng.randint(0, 99)}", str),
    (pa.string_view(), lambda rng: "x" * 30, str),
    (pa.dictionary(pa.int32(), pa.string()), lambda rng: "y", str),
    (pa.int16(), lambda rng: rng.randint(-9, 9), str),
    (pa.uint64(), lambda rng: 2**64 - 1, str),
    (pa.float64(), lambda rng: rng.choice([1.0, 1.5, math.nan, 1e30]), lambda value: "1" if value == 1.0 else NO_ID),
    (pa.decimal128(38, 0), lambda rng: Decimal(10**30), str),
    (
        pa.decimal128(5, 2),
        lambda rng: Decimal(rng.choice(["1.00", "1.50"])),
        lambda value: "1" if value == 1 else NO_ID,
    ),
    (pa.bool_(), lambda rng: True, lambda value: NO_ID),
    (pa.list_(pa.string_view()), lambda rng: ["x"], lambda value: NO_ID),
    (pa.struct([("$oid", pa.string())]), lambda rng: {"$oid": "5f"}, lambda value: "5f"),
]


def _write_parquet(rng: random.Random, path: Path, kinds: dict[str, str | None]) -> list[Row]:
    length = rng.choice([0, 1, 5, 12])
    types = {name: random_type(rng, kind if rng.random() < 0.8 else None) for name, kind in kinds.items()}
    columns = {name: random_array(rng, type, length) for name, type in types.items()}
    id_type, make, text = rng.choice(_IDS)
    ids = [None if rng.random() < 0.2 else make(rng) for _ in range(length)]
    questions = [question for question, _ in zip(_texts(rng), range(length), strict=False)]
    values = {name: column.to_pylist() for name, column in columns.items()}
    broken = rng.sample(range(length), min(length, 2)) if rng.random() < 0.15 else []
    for name, type in types.items():
        columns[name] = _with_bad_bytes(columns[name], broken) if _holds_text(type) else columns[name]
    broken = broken if any(map(_holds_text, types.values())) else []
    table = {
        "id": pa.array(ids, id_type),
        "question": [one for one, _ in questions],
        "context": ["It is Ada."] * length,
    }
    table["question"] = pa.array(table["question"], rng.choice([pa.string(), pa.large_string(), pa.string_view()]))
    order = rng.sample([*table, *columns], len(table) + len(columns))
    whole = pa.table({name: {**table, **columns}[name] for name in order})
    try:
        pq.write_table(whole, path, row_group_size=rng.choice([1, 3, 100]))
    except pa.ArrowNotImplementedError:
        # There are lists of views that Arrow reads, but cannot write.
        pq.write_table(pa.table({name: plain_column(whole[name]) for name in order}), path)
    return [
        Row(
            NO_ID if ids[number] is None else text(ids[number]),
            {name: column[number] for name, column in values.items()},
            questions[number][1] and number not in broken,
            types,
        )
        for number in range(length)
    ]


def _holds_text(type: pa.DataType) -> bool:
    return type in (pa.string(), pa.list_(pa.string()), pa.string_view())


def _with_bad_bytes(array: pa.Array, rows: list[int]) -> pa.Array:
    """The array with bytes that are not UTF-8 in some rows."""
    bad = {row: [b"x", b"\xff"] if pa.types.is_list(array.type) else b"\xff" for row in rows}
    values = [
        bad.get(row, [one and one.encode() for one in value] if isinstance(value, list) else value and value.encode())
        for row, value in enumerate(array.to_pylist())
    ]
    if pa.types.is_list(array.type):
        lists = pa.array(values, pa.list_(pa.binary()))
        return pa.ListArray.from_arrays(lists.offsets, lists.values.view(pa.string()), mask=lists.is_null())
    return pa.array(values, pa.binary()).view(pa.string())


def _write_jsonl(rng: random.Random, path: Path, kinds: dict[str, str | None]) -> list[Row]:
    rows, lines = [], []
    for question, is_good in (pair for pair, _ in zip(_texts(rng), range(rng.choice([0, 1, 8, 12])), strict=False)):
        values = {
            name: random_json(rng, kind if rng.random() < 0.8 else None)
            for name, kind in kinds.items()
            if rng.random() < 0.9
        }
        id, text = rng.choice(
            [
                ("q", "q"),
                (7, "7"),
                (8.0, "8"),
                (2**70, str(2**70)),
                ({"$oid": "5f"}, "5f"),
                (None, NO_ID),
                (1.5, NO_ID),
                ([], NO_ID),
            ]
        )
        row = {"id": id, "question": question, "context": "It is Ada.", **values}
        if rng.random() < 0.05:
            rows.append(Row(NO_ID, {}, False))
            lines.append(rng.choice(["{", "[1]", '"x"', '{"question": "\\ud800"}']))
        else:
            rows.append(Row(text, values, is_good))
            lines.append(json.dumps(row, ensure_ascii=rng.random() < 0.5))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return rows
