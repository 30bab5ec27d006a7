"""A gzip stream: members, one behind the other, and the zeros at its end with which some tools pad it."""

import zlib
from typing import Protocol

CUT_SHORT = "Truncated compressed stream"
"""What the error for a stream that breaks off says, here as in Arrow."""

_READ_BYTES = 64 << 10
_GZIP = 16 + zlib.MAX_WBITS


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class GzipStream:
    """Decompresses the members of a stream. Zeros behind them are padding, which Arrow's stream takes for damage."""

    def __init__(self, source: _Source) -> None:
        """Takes the compressed bytes, at the beginning of the first member."""
        self._source = source
        self._compressed = b""
        self._member = zlib.decompressobj(_GZIP)
        self._is_within = self._is_padding_allowed = False
        """A member is open; one has been read."""

    def read(self, size: int) -> bytes:
        """`size` bytes of the text; fewer before its end or a place where it breaks off, and at last none.

        Raises:
            OSError: the stream is damaged, or broke off where the last read ended.
        """
        pieces, left = list[bytes](), size
        while left:
            self._compressed = self._compressed or self._source.read(_READ_BYTES)
            if self._is_padding_allowed and not self._is_within:
                padded = len(self._compressed)
                self._compressed = self._compressed.lstrip(b"\0")
                if padded and not self._compressed:
                    continue
            is_over = not self._compressed
            if is_over and not self._is_within:
                break
            piece = self._decompressed(left)
            if is_over and not piece:
                if pieces:
                    break
                raise OSError(CUT_SHORT)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _decompressed(self, most: int) -> bytes:
        if not self._is_within:
            self._member, self._is_within = zlib.decompressobj(_GZIP), True
        try:
            piece = self._member.decompress(self._compressed, most)
        except zlib.error as error:
            raise OSError(str(error)) from error
        self._is_within, self._is_padding_allowed = not self._member.eof, True
        self._compressed = self._member.unconsumed_tail if self._is_within else self._member.unused_data
        return piece
