"""Which names below a folder are files of the input, and a record of those that are left out, to be said."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipelines.words import counted

_NAMED = 3
_HIDDEN = "names that begin with '_' or '.' do not count"
_MARK = "empty files of such names stand for folders"
_DESCRIBES = "names of this kind describe data, and hold none"
_UNFINISHED = "a copy of it is not finished"

# What a dataset's repository and its tools keep beside the data.
_DESCRIBING_STEMS = frozenset(
    ("readme", "license", "licence", "copying", "notice", "changelog", "citation", "authors", "makefile", "dockerfile")
)
_DESCRIBING_NAMES = frozenset(("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "requirements.txt"))
_DESCRIBING_SUFFIXES = frozenset((".md", ".rst", ".py", ".ipynb", ".sh", ".yaml", ".yml", ".toml", ".sha256", ".md5"))


@dataclass
class LeftOut:
    """Files that are not read, by reason."""

    _counts: Counter[str] = field(default_factory=Counter)
    _names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Takes the name of one file."""
        self._counts[reason] += 1
        names = self._names.setdefault(reason, [])
        if len(names) < _NAMED:
            names.append(name)

    def lines(self) -> tuple[str, ...]:
        """A sentence for every reason, with the number of files and the first names."""
        return tuple(
            f"left out: {counted(count, 'file')} ({', '.join(self._names[reason])}"
            f"{', ...' if count > _NAMED else ''}): {reason}"
            for reason, count in self._counts.items()
        )


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name does not count; partitions (`_day=1`) do, as in Spark."""
    return part.startswith(("_", ".")) and "=" not in part


def reason_to_leave_out(name: str, size: int | None, suffixes: Iterable[str]) -> str:
    """Why a file below a folder is none of the input; empty where it is one.

    Args:
        name: path below the folder; a store's key may end in "/", or be "" for the folder itself.
        suffixes: those of the input's formats, in lower case, which are never taken for a description.
    """
    if not size and (name == "" or name.endswith(("/", "_$folder$"))):
        return _MARK
    if any(map(is_hidden, PurePosixPath(name).parts)):
        return _HIDDEN
    if name.endswith("._COPYING_"):
        return _UNFINISHED
    file = os.path.basename(name).lower()
    stem, suffix = os.path.splitext(file)
    if file in _DESCRIBING_NAMES:
        return _DESCRIBES
    describes = stem.partition(".")[0] in _DESCRIBING_STEMS or suffix in _DESCRIBING_SUFFIXES
    return _DESCRIBES if describes and not file.endswith(tuple(suffixes)) else ""
