"""What all files together say of their columns."""

import random
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.column_survey import ColumnSurvey
from pipelines.corpus.formats.base import FirstLook
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.url import Url

TEXT = pa.string()


def _file(name: str) -> SourceFile:
    return SourceFile(Url(f"/in/{name}"), name, 1, "v", "parquet", None)


def _declared(rows: int = 1, **types: pa.DataType) -> FirstLook:
    schema = pa.schema({"text": TEXT, **types})
    return FirstLook(tuple(schema.names), schema, (), rows, rows)


def _sampled(*rows: dict[str, Any]) -> FirstLook:
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return FirstLook(names, None, (), len(rows), len(rows), sample=rows)


def _survey(*looks: FirstLook, **parameters: Any) -> ColumnSurvey:
    survey = ColumnSurvey(CorpusParameters(**parameters), "embed")
    for number, look in enumerate(looks):
        assert survey.add(_file(f"{number:03d}"), look) is None
    return survey


def test_types_of_all_files_are_joined_in_any_order() -> None:
    looks = [
        _declared(n=pa.int8(), m=pa.list_(pa.struct([("a", TEXT)]))),
        _declared(m=pa.list_(pa.struct([("b", TEXT)]))),
        _sampled({"text": "t", "n": 0.5, "k": 1}, {"text": "t", "n": None}),
        _sampled({"text": "t", "k": "x"}),
    ]
    expected = pa.schema({"n": pa.float64(), "m": pa.list_(pa.struct([("a", TEXT), ("b", TEXT)])), "k": TEXT})
    for seed in range(10):
        shuffled = random.Random(seed).sample(looks, len(looks))
        carried = _survey(*shuffled, carry=("n", "m", "k")).carried()
        assert (carried.schema, carried.mixed) == (expected, ("k",))


def test_types_by_hand() -> None:
    survey = _survey(_declared(n=pa.int8(), m=TEXT), carry=("n", "m", "text"), types={"n": "string", "m": "int64"})
    carried = survey.carried()
    assert carried.schema == pa.schema({"n": TEXT, "m": pa.int64(), "text": TEXT})
    assert carried.mixed == ("n", "m")


def test_files_without_rows_count_where_no_others_do() -> None:
    empty, nulls = _declared(0, n=TEXT), _declared(n=pa.null())
    assert _survey(empty, _declared(n=pa.int8()), carry=("n",)).carried().schema.types == [pa.int8()]
    assert _survey(_declared(0, n=pa.date32()), nulls, carry=("n",)).carried().schema.types == [pa.date32()]


def test_a_column_has_to_be_in_some_file() -> None:
    survey = _survey(_declared(n=TEXT), _sampled({"text": "t", "title": "x"}), carry=("n", "title"))
    survey.check()
    survey = _survey(_sampled({"text": "t"}), _declared(n=TEXT), carry=("titel", "n"))
    with pytest.raises(CorpusError, match=r"^000: there is no column 'titel'; it has 'text', 'n'") as raised:
        survey.check()
    assert str(raised.value).endswith("in the files, give its type: --set 'corpus.types={titel: string}'")
    with pytest.raises(CorpusError, match=r"no column 'late'.*is different\)$"):
        _survey(_declared(n=TEXT), carry=("late",)).check()
    _survey(_sampled({"text": "t"}), carry=("late",), types={"late": "double"}).check()
    with pytest.raises(CorpusError, match="no column 'late'"):
        _survey(_declared(), carry=("late",), types={"late": "double"}).check()
    _survey(carry=("n",)).check()


def test_ids_that_are_named_have_to_be_in_some_file() -> None:
    columns = {"id": "doc", "text": "text"}
    _survey(_declared(n=TEXT), _sampled({"text": "t", "doc": 1}), columns=columns).check()
    with pytest.raises(CorpusError, match=r"^000: there is no column 'doc'; .* Map it: --set corpus\.columns\.id="):
        _survey(_declared(n=TEXT), _sampled({"text": "t", "id": 1}), columns=columns).check()
    _survey(_declared(n=TEXT)).check()


def test_what_a_file_cannot_be_used_for_is_given_back() -> None:
    survey = ColumnSurvey(CorpusParameters(carry=("n",)), "embed")
    looks = {
        "no column 'text'": FirstLook(("n",), pa.schema({"n": TEXT}), (), 1, 1),
        "'n' is of type .*interval.*Leave it out of corpus.carry": _declared(n=pa.month_day_nano_interval()),
        "no JSON at all": FirstLook((), None, (), 1, 1, misfit="a: no JSON at all"),
        "'other'": _sampled({"other": 1}),
    }
    for words, look in looks.items():
        with pytest.raises(CorpusError, match=words):
            raise survey.add(_file("a"), look) or AssertionError(words)


def test_memory_does_not_grow_with_the_files() -> None:
    survey = _survey(carry=("n",))
    names = [f"column {number}" for number in range(200)]

    def add(first: int, count: int) -> None:
        for number in range(first, first + count):
            more = {f"{name} of {number}": TEXT for name in names}
            survey.add(_file(str(number)), _declared(n=pa.struct([("a", pa.int8())]), **more))

    add(0, 20)
    tracemalloc.start()
    add(20, 100)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 100_000
