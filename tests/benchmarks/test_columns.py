"""The measurement of columns, on a few rows."""

from dataclasses import replace

import pytest

from actors.models.loading import load_engine
from actors.parameters import AttentionParameters, BatchingParameters, ModelParameters, TokenVectorParameters
from benchmarks import columns
from tests.actors.helpers import GOLDEN


def test_every_column_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {
        "answers": columns.VARIANTS["answers"],
        "tokens": columns.VARIANTS["tokens"],
        "vectors": replace(columns.VARIANTS["answers"], token_vectors=TokenVectorParameters(layers=1)),
        "attention": replace(columns.VARIANTS["answers"], attention=AttentionParameters(top=2, layers=(2,))),
    }
    monkeypatch.setattr(columns, "VARIANTS", variants)
    folder = GOLDEN / "models" / "distilbert"
    engine = load_engine(folder, ModelParameters(device="cpu", threads=1), BatchingParameters(), True)
    figures = columns.measure(engine, columns.prepared_rows(engine, 3), rounds=1)
    assert list(figures) == list(variants)
    assert figures["answers"].share == 1
    assert all(one.rows_per_second > 0 and one.arrow_bytes > 0 and one.parquet_bytes > 0 for one in figures.values())
    assert figures["attention"].arrow_bytes > figures["tokens"].arrow_bytes > figures["answers"].arrow_bytes
    assert columns.table_of(figures).row_count == len(variants)
