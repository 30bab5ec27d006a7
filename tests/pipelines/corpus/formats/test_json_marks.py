"""Brackets and commas outside of strings, however the text is cut into chunks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats.json_marks import Marks

TEXTS = st.text(alphabet='"\\{}[],a', max_size=30).map(str.encode)


def _expected(text: bytes) -> tuple[list[int], int, bool]:
    places, depth, in_string, escaped = [], 0, False, False
    for place, byte in enumerate(text.decode()):
        if byte == '"' and not escaped:
            in_string = not in_string
        elif byte in "{}[]," and not in_string:
            places.append(place)
            depth += {"{": 1, "[": 1, ",": 0}.get(byte, -1)
        escaped = byte == "\\" and not escaped
    return places, depth, in_string


@settings(deadline=None)
@given(TEXTS, st.integers(1, 31))
def test_marks_are_those_of_a_walk_over_the_bytes(text: bytes, size: int) -> None:
    marks, places = Marks(), []
    for start in range(0, len(text), size):
        found = marks.take(np.frombuffer(text[start : start + size], np.uint8))
        places += (found.place + start).tolist()
    assert (places, marks.depth, marks.in_string) == _expected(text)


def test_the_outermost_bracket() -> None:
    found = Marks().take(np.frombuffer(b"[{,}],{[,]}", np.uint8))
    assert found.in_array.tolist() == [True] * 6 + [False] * 5
    assert found.depth.tolist() == [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]
