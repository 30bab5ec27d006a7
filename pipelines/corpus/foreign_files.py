"""Files of kinds that are not read: tables and texts of other programs, and how rows are made of them."""

import os
import shlex
from dataclasses import dataclass

from pipelines.shell import python, relative


@dataclass(frozen=True)
class _Kind:
    name: str
    reader: str
    """Python that makes a table of PATH, with a method that writes Parquet."""
    needs: str = ""
    """Packages that Spanmill does not bring."""


_CSV = "pyarrow.csv.read_csv(PATH{})"
_KINDS = {
    ".csv": _Kind("CSV", _CSV.format("")),
    ".tsv": _Kind("TSV", _CSV.format(r", parse_options=pyarrow.csv.ParseOptions(delimiter='\t')")),
    ".xlsx": _Kind("Excel", "pandas.read_excel(PATH)", "pandas and openpyxl"),
}
_TEXT = 'plain text has no columns: write a JSON object a line, {"id": ..., "question": ..., "context": ...}'
_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd", ".bz2")


def advice_for(path: str, is_local: bool) -> str:
    """What a file of a kind that is not read is, and the one line that converts it; empty for any other kind.

    Args:
        path: as people may see it.
        is_local: whether the line can read it where it lies; else it is copied first.
    """
    here = relative(path) if is_local else os.path.basename(path)
    stem, suffix = os.path.splitext(here)
    if suffix.lower() in _COMPRESSED:
        stem, suffix = os.path.splitext(stem)
    if suffix.lower() == ".txt":
        return _TEXT
    kind = _KINDS.get(suffix.lower())
    if kind is None:
        return ""
    copied = "" if is_local else "copy it to this machine, and "
    packages = f"with {kind.needs} installed (pip), " if kind.needs else ""
    command = _command(kind, here, f"{stem}.parquet")
    return f"{kind.name} is not read; {copied}{packages}make Parquet of it: {command}"


def _command(kind: _Kind, source: str, target: str) -> str:
    reader = kind.reader.replace("PATH", repr(source))
    if kind.needs:
        code = f"import pandas; {reader}.to_parquet({target!r})"
    else:
        code = f"import pyarrow.csv, pyarrow.parquet; pyarrow.parquet.write_table({reader}, {target!r})"
    return f"{python()} -c {quoted(code)}"


def quoted(code: str) -> str:
    """Code as one word of a shell: within double quotes, which are easier to read, where nothing in it needs others."""
    return f'"{code}"' if not set(code) & set('"$`!') and "\\\\" not in code else shlex.quote(code)
