"""Types by name."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.config.column_types import parse_type
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("string", pa.string()),
        ("int8", pa.int8()),
        ("double", pa.float64()),
        ("date", pa.date32()),
        (" timestamp[us, UTC] ", pa.timestamp("us", "UTC")),
        ("decimal(10, 2)", pa.decimal128(10, 2)),
        ("decimal(50,2)", pa.decimal256(50, 2)),
        ("list<list<double>>", pa.list_(pa.list_(pa.float64()))),
    ],
)
def test_types(name: str, type: pa.DataType) -> None:
    assert parse_type(name) == type


@pytest.mark.parametrize(
    "name", ["", "text", "list<>", "list<text>", "decimal(2,3)", "decimal(77,0)", "struct<a: int8>"]
)
def test_names_of_no_type(name: str) -> None:
    with pytest.raises(ValueError, match=r"there is no type .*; there are string, "):
        parse_type(name)


def test_the_config_checks_types(tmp_path: Path) -> None:
    words = ["corpus.carry=[zip]", "corpus.types={zip: string}"]
    assert load_config(AnswerConfig, None, words).corpus.types == {"zip": "string"}
    (tmp_path / "job.yaml").write_text("corpus: {carry: [zip]}\ncorpus.types: {zip: string}\n")
    assert load_config(AnswerConfig, tmp_path / "job.yaml", []).corpus.types == {"zip": "string"}
    with pytest.raises(ConfigError, match=r"corpus\.types: there is no type 'text'"):
        load_config(AnswerConfig, None, ["corpus.carry=[zip]", "corpus.types={zip: text}"])
    with pytest.raises(ConfigError, match=r"'zip' is not carried; add it to corpus\.carry"):
        load_config(AnswerConfig, None, ["corpus.types={zip: string}"])
