"""The input formats that are built in, by the names that `corpus.format` takes, and where each is implemented."""

from collections.abc import Mapping

FORMATS: Mapping[str, str] = {
    "parquet": "pipelines.corpus.formats.parquet:PARQUET",
    "jsonl": "pipelines.corpus.formats.jsonl:JSONL",
    "json": "pipelines.corpus.formats.json_document:JSON",
}
"""Name → place of a `pipelines.corpus.formats.base.InputFormat`, imported when it is asked for."""
