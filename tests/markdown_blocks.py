"""The code blocks of a Markdown page, what the comments before them say, and what counts as printed."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"\s*<!-- (takes minutes|not run|output|config of \w+)(?:: (.*))? -->\s*")
_FENCE = re.compile(r"( *)```(\w*)\s*")


@dataclass(frozen=True)
class Block:
    """A block, fenced or indented by four blanks."""

    page: str
    line: int
    """Of its first line, from 1."""
    text: str
    """Without indentation and fences."""
    mark: str
    """What the comment before it says: empty where there is none."""
    reason: str
    """What the comment says behind a colon."""
    language: str
    """What a fence names, else python or shell, by its first word."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path, page: str) -> Iterator[Block]:
    """Every code block of a page, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    mark, number = ("", ""), 0
    while number < len(lines):
        line, first = lines[number], number
        if marked := _MARK.fullmatch(line):
            mark = (marked[1], marked[2] or "")
            number += 1
            continue
        if fence := _FENCE.fullmatch(line):
            end = lines.index(f"{fence[1]}```", number + 1)
            code, language, first = lines[number + 1 : end], fence[2], number + 1
            number = end + 1
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            code, language = lines[number:end], ""
            number = end
        else:
            if line.strip():
                mark = ("", "")
            number += 1
            continue
        text = textwrap.dedent("\n".join(code)).strip("\n")
        yield Block(page, first + 1, text, *mark, language or _language(text))
        mark = ("", "")


def says(shown: str, printed: str) -> bool:
    """Whether a text was printed: blanks do not count, `...` is anything, numbers are rounded as they are shown."""
    pattern, numbers = "", list[str]()
    for piece in re.findall(r"\.\.\.|\d+\.\d+|\s+|\w+|.", shown):
        if piece == "...":
            pattern += ".*?"
        elif re.fullmatch(r"\d+\.\d+", piece):
            pattern += r"(\d+\.\d+(?:e-\d+)?)"
            numbers.append(piece)
        else:
            pattern += r"\s*" if piece.isspace() else re.escape(piece)
    return any(
        all(
            f"{float(got):.{len(wanted.partition('.')[2])}f}" == wanted
            for got, wanted in zip(found.groups(), numbers, strict=True)
        )
        for found in re.finditer(pattern, printed, re.DOTALL)
    )


def _language(text: str) -> str:
    return "python" if re.match(r"(import|from|class|def|@)\b", text) else "shell"
