"""Gzip as tools write it: members, padding, and streams that break off."""

import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats.gzip_stream import CUT_SHORT, GzipStream

TEXTS = st.lists(st.binary(max_size=200) | st.integers(1, 200_000).map(lambda size: b"ab" * size), max_size=4)


def _read(data: bytes, size: int) -> bytes:
    stream = GzipStream(io.BytesIO(data))
    return b"".join(iter(lambda: stream.read(size), b""))


@settings(deadline=None)
@given(TEXTS.filter(bool), st.sampled_from([7, 1000, 1 << 20]), st.integers(0, 3), st.sampled_from([0, 1, 512, 70_000]))
def test_members_and_padding(texts: list[bytes], size: int, level: int, padding: int) -> None:
    text = b"".join(texts)[: 2000 * size]
    middle = len(text) // 2
    members = [gzip.compress(part, level) for part in (text[:middle], text[middle:])]
    assert _read(b"".join(members) + b"\0" * padding, size) == text
    assert _read((b"\0" * padding).join(members), size) == text


@pytest.mark.parametrize("size", [1, 256, 1 << 20])
def test_a_stream_that_breaks_off_gives_what_there_is(size: int) -> None:
    text = bytes(range(256)) * 40
    stream = GzipStream(io.BytesIO(gzip.compress(text)[:-9]))
    pieces: list[bytes] = []

    def read() -> None:
        while piece := stream.read(size):
            pieces.append(piece)

    with pytest.raises(OSError, match=CUT_SHORT):
        read()
    assert text.startswith(b"".join(pieces))
    assert sum(map(len, pieces)) > len(text) // 2


@pytest.mark.parametrize(
    "data", [b"\0" * 600, b"no gzip", gzip.compress(b"text", mtime=0) + b"more"], ids=["zeros", "text", "rest"]
)
def test_what_is_no_gzip(data: bytes) -> None:
    with pytest.raises(OSError, match="incorrect header check"):
        _read(data, 100)


def test_an_empty_file_is_an_empty_text() -> None:
    assert _read(b"", 100) == b""


def test_a_wrong_check_sum() -> None:
    data = bytearray(gzip.compress(b"text"))
    data[-6] ^= 1
    with pytest.raises(OSError, match="incorrect data check"):
        _read(bytes(data), 100)
