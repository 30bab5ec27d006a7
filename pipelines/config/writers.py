"""What `output.sink` and `output.format` may name: built-in implementations, each with the place of its object."""

from collections.abc import Mapping

SINKS: Mapping[str, str] = {"folder": "pipelines.output.sinks.folder:PartsFolder"}
PART_FORMATS: Mapping[str, str] = {
    "parquet": "pipelines.output.sinks.part_format:PARQUET",
    "jsonl": "pipelines.output.sinks.part_format:JSONL",
}
