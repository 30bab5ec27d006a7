"""What `output.sink` and `output.format` may name: built-in implementations, each with the place of its object."""

from collections.abc import Mapping

SINKS: Mapping[str, str] = {"folder": "pipelines.output.sinks.folder:PartsFolder"}
PART_FORMATS: Mapping[str, str] = {
    "parquet": "pipelines.output.sinks.part_format:PARQUET",
    "jsonl": "pipelines.output.sinks.part_format:JSONL",
}


def check_name(registry: Mapping[str, str], name: str) -> str:
    """The name, if it is in the registry or is a place, `package.module:OBJECT`; nothing is imported.

    Raises:
        ValueError: it is neither; the message lists the names that there are.
    """
    if name not in registry and ":" not in name:
        known = " or ".join(map(repr, registry))
        raise ValueError(f"Input should be {known}, or package.module:OBJECT")
    return name
