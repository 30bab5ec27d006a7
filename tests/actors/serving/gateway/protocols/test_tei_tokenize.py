import asyncio
import threading

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.serving.gateway.protocols import tei_tokenize
from actors.serving.gateway.protocols.tei_tokenize import BoundedTokenizer, tokens_json
from actors.serving.types import Refused
from tests.actors.helpers import WORDS, word_ids, word_tokenizer, words


@given(st.lists(st.integers(0, WORDS - 1)), st.integers(1, 8))
def test_every_token_has_its_stretch_of_the_text(numbers: list[int], at_once: int) -> None:
    text = words(numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tei_tokenize, "_AT_ONCE", at_once)
        cls, *tokens, sep = orjson.loads(tokens_json(word_tokenizer(), text, add_special_tokens=True))
    assert [cls["text"], sep["text"]] == ["[CLS]", "[SEP]"]
    assert [token["id"] for token in tokens] == word_ids(text)
    assert [text[token["start"] : token["stop"]] for token in tokens] == text.split()


def test_what_is_in_hand_has_a_limit() -> None:
    text = words(range(20))
    view = BoundedTokenizer(max_bytes=int(1.5 * len(text)))

    async def use() -> None:
        tokenizer = word_tokenizer()
        first = asyncio.create_task(view.tokenise(tokenizer, [text], add_special_tokens=False))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match=f"{len(text)} bytes of text are being tokenised already") as caught:
            await view.tokenise(tokenizer, [text], add_special_tokens=False)
        assert caught.value.refusal.status == 429
        assert len(orjson.loads(await first)[0]) == 20
        assert (
            orjson.loads(await view.tokenise(tokenizer, ["w0", text], add_special_tokens=False))[0][0]["text"] == "w0"
        )

    asyncio.run(use())


def test_what_a_thread_still_does_for_a_client_that_has_gone_is_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_: object) -> bytes:
        begun.set()
        may_end.wait()
        return b"[]"

    monkeypatch.setattr(tei_tokenize, "tokens_json", slow)
    text = words(range(20))
    view = BoundedTokenizer(max_bytes=len(text))

    async def use() -> None:
        first = asyncio.create_task(view.tokenise(word_tokenizer(), [text], add_special_tokens=False))
        await asyncio.to_thread(begun.wait)
        first.cancel()
        await asyncio.sleep(0.01)
        with pytest.raises(Refused):
            await view.tokenise(word_tokenizer(), [text], add_special_tokens=False)
        may_end.set()
        await asyncio.wait([first])
        assert await view.tokenise(word_tokenizer(), [text], add_special_tokens=False) == b"[[]]"

    asyncio.run(use())
