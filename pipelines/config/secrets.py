"""What of a config is not shown: credentials among the options of stores, and those within URLs."""

import re
from collections.abc import Mapping
from typing import Any

from pipelines.storage.url import redact

HIDDEN = "***"
"""Stands for what is not shown."""
_STORAGE = "storage"
"""Keys of this name hold the options of a store, which are its package's and not ours."""
_SECRET = re.compile(
    r"key|secret|token|passw|\bpwd|credential|auth|sas\b|signature|connection_string|cookie", re.IGNORECASE
)


def hidden(value: Any, key: str = "") -> Any:
    """The value of a config key as it may be shown: credentials become `***`, everything else stays as it is.

    Args:
        value: of any kind that YAML has.
        key: dotted.
    """
    within = _STORAGE in key.split(".")
    if value is None or value == "" or isinstance(value, bool):
        return value
    if within and _SECRET.search(key.rpartition(f"{_STORAGE}.")[2]):
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: hidden(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(hidden(inner, key) for inner in value)
    if key.rpartition(".")[2] == _STORAGE:
        # Not the mapping that it should be: whatever it is, it was meant for a store.
        return HIDDEN
    if isinstance(value, str) and redact(value) != value:
        return f"{redact(value)}{HIDDEN}"
    return value
