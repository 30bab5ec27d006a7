"""The tokens of texts as JSON, for /tokenize."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import orjson
from tokenizers import Tokenizer

from actors.serving.replica.threads import in_thread
from actors.serving.types import Refusal, Refused

_AT_ONCE = 4096
"""Tokens that are Python objects at the same time; they take a hundred times the memory of their text."""


class BoundedTokenizer:
    """Tokenises in a thread beside the event loop, one text at a time; refuses beyond a number of bytes in hand."""

    def __init__(self, max_bytes: int) -> None:
        """Takes the most bytes of text that may be in hand, of all requests together."""
        self._max_bytes = max_bytes
        self._in_hand = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    async def tokenise(self, tokenizer: Tokenizer, texts: Sequence[str], add_special_tokens: bool) -> bytes:
        """A JSON list with the `tokens_json` of every text.

        Raises:
            Refused: there is too much in hand already.
        """
        size = sum(len(text.encode()) for text in texts)
        if self._in_hand + size > self._max_bytes:
            message = f"{self._in_hand} bytes of text are being tokenised already; try again later"
            raise Refused(Refusal(429, "queue_full", message))
        self._in_hand += size
        try:
            parts = [await in_thread(self._thread, tokens_json, tokenizer, text, add_special_tokens) for text in texts]
        finally:
            self._in_hand -= size
        return b"[" + b",".join(parts) + b"]"


def tokens_json(tokenizer: Tokenizer, text: str, add_special_tokens: bool) -> bytes:
    """A JSON list of a text's tokens: id, text, whether it is special, first code point and the one after the last.

    A special token has no place in the text: its text is its name, and start and stop are null.
    """
    # Unlike encode, encode_batch lets other threads run meanwhile.
    (encoding,) = tokenizer.encode_batch([text], add_special_tokens=add_special_tokens)
    tokens: Iterator[dict[str, object]] = (
        {"id": one, "text": tokenizer.id_to_token(one), "special": True, "start": None, "stop": None}
        if special
        else {"id": one, "text": text[start:stop], "special": False, "start": start, "stop": stop}
        for one, special, (start, stop) in zip(
            encoding.ids, encoding.special_tokens_mask, encoding.offsets, strict=True
        )
    )
    return b"[" + b",".join(_pieces(tokens)) + b"]"


def _pieces(tokens: Iterator[dict[str, object]]) -> Iterator[bytes]:
    while piece := list(islice(tokens, _AT_ONCE)):
        yield orjson.dumps(piece)[1:-1]
