"""Where the sentences and paragraphs of texts begin, by rules that need neither a model nor the text's language.

The rules follow Unicode's UAX #29, sentence boundaries (https://www.unicode.org/reports/tr29/#Sentence_Boundaries):
a sentence ends after a full stop, unless a lower-case letter follows (SB6 to SB8a, SB11), and after other marks (SB9 to
SB11), closing quotes and brackets included. They differ from it where texts do:

* A single line end is a blank, since lines are often wrapped within sentences. An empty line, which ends a paragraph,
  and U+2029 end a sentence too (SB4).
* A mark of an alphabetic script ends a sentence only before white space, so that addresses such as `?q=1` are not cut.
  Those of Chinese and Japanese need none.
* A question or exclamation mark in quotes ends none before a lower-case letter: "Why?" he asked.
* A full stop ends none after a capital letter alone (an initial), after a number of one or two digits (an ordinal, or
  an item of a list), after one of `ABBREVIATIONS`, and before a number after one of `BEFORE_NUMBERS`.

Every character is looked at a few times at most, whatever the text: 10 MB take a few seconds at most.
"""

import re

import numpy as np

from actors.arrays import Longs

_TITLES = "adm capt cmdr col dr fr gen gov hon jr lt maj messrs mgr mlle mme mr mrs ms pres prof rep rev sen sgt sr st"
_WITHIN = (
    "a.a.o al approx bzgl bzw ca cf d.h dept e.g ed eds evtl ggf hrsg i.d.r i.e incl inkl o.g p.ex resp s.o s.u u.a u.u"
    " v.a vgl viz vs z.b z.t zzgl"
)
ABBREVIATIONS = frozenset(f"{_TITLES} {_WITHIN}".split())
"""Of English, German, French and Latin. After them, in whatever case, a full stop ends no sentence.

Words that often end one, such as `etc.`, `Inc.` and `usw.`, are not among them: there a sentence ends unless a
lower-case letter follows."""

_REFERENCES = "abb abs anm art bd cap ch chap eq eqs fig figs no nos nr op p para pp ref refs sec sect tab vol"
_MONTHS = "jan feb aug sept oct okt nov dec"
BEFORE_NUMBERS = frozenset(f"{_REFERENCES} {_MONTHS}".split())
"""After them, in whatever case, a full stop ends no sentence where a number follows; many are words themselves."""

_LONGEST_WORD = 12
"""Characters before a full stop that are looked at; no abbreviation is longer."""

_MOST_DIGITS = 2
"""Of a number that is taken for an ordinal."""

_MARKS = frozenset("!?‼⁇⁈⁉؟۔।॥։።፧")
_WIDE_STOP = "．"
_WIDE = "。｡！？" + _WIDE_STOP
_CLOSERS = "'\"”’»›)\\]}」』）】》〉〕］"
_OPENERS = "'\"“‘„«‹([{"
_QUOTES = frozenset("\"'”’»›")
_ANY = f"[.…{''.join(sorted(_MARKS))}{_WIDE}]"
# It begins with a set, which the search is quick with. Possessive repeats and the look back at the character before
# keep a run of marks that ends no sentence from being looked at again from each of them.
_END = re.compile(
    rf"(?s:{_ANY}(?<!{_ANY}.)){_ANY}*+(?:(?<=[{_WIDE}])[{_CLOSERS}]*+\s*+|[{_CLOSERS}]*+(?:\s++|\Z))",
)
_LINE_ENDS = "\n\r\x85\u2028\u2029"
_BLANKS = rf"[^\S{_LINE_ENDS}]*+"
_PARAGRAPH_END = re.compile(
    rf"[{_LINE_ENDS}](?:(?<=\u2029)|(?<=\r)\n?+{_BLANKS}[{_LINE_ENDS}]|(?<!\r){_BLANKS}[{_LINE_ENDS}])\s*+"
)
_GOES_ON = frozenset(",-:;–—、，：；")
"""SContinue of UAX #29: a sentence goes on before one of these (SB8a)."""


def sentence_starts(text: str) -> Longs:
    """Code points at which the sentences of a text begin, ascending; the first is 0. White space belongs to the
    sentence before it.
    """
    ends = [found.end() for found in _END.finditer(text) if _ends_sentence(text, found)]
    return _starts(text, ends + _paragraph_ends(text))


def paragraph_starts(text: str) -> Longs:
    """As `sentence_starts`, of the paragraphs, which empty lines and U+2029 divide."""
    return _starts(text, _paragraph_ends(text))


def _paragraph_ends(text: str) -> list[int]:
    return [found.end() for found in _PARAGRAPH_END.finditer(text)]


def _starts(text: str, ends: list[int]) -> Longs:
    starts = np.unique(np.array([0, *ends], dtype=np.int64))
    return starts[starts < max(len(text), 1)]


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    begin, end = found.span()
    first, following = text[begin], text[end : end + 1]
    if following in _GOES_ON:
        return False
    if first in _WIDE:
        return first != _WIDE_STOP or not following.isdecimal()
    marks = found[0]
    if not _MARKS.isdisjoint(marks):
        return not (following.islower() and not _QUOTES.isdisjoint(marks))
    if following.islower():
        return False
    return first != "." or marks[1:2] == "." or not _is_abbreviated(text, begin, following)


def _is_abbreviated(text: str, stop: int, following: str) -> bool:
    """Whether the word before a full stop is one that a full stop belongs to, before the character that follows."""
    words = text[max(stop - _LONGEST_WORD, 0) : stop].split()
    if not words:
        return False
    word = words[-1].lstrip(_OPENERS)
    last = word.rpartition(".")[2]
    if len(last) == 1 and last.isupper():
        return True
    if word.isdecimal():
        return len(word) <= _MOST_DIGITS
    lower = word.lower()
    return lower in ABBREVIATIONS or (following.isdecimal() and lower in BEFORE_NUMBERS)
