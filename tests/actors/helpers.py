"""Small tokenizers, tensors and shards whose every number can be worked out by hand."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedModel

from actors.arrays import Floats, Ints
from actors.backends.base import BatchLayout, PassOutput, SynchronousBackend
from actors.batch import Batch
from actors.engine.decoding.answers import Answers
from actors.engine.engine import DeviceTurn, Engine
from actors.engine.inference_task import Results
from actors.engine.passes import Share
from actors.errors import OutOfMemory
from actors.parameters import QAParameters
from actors.registry import RUNTIMES
from actors.tokenization.encoder_spec import EncoderSpec, make_spec
from actors.tokenization.preprocess import Rejected, prepare_pairs
from actors.tokenization.tokenized import Tokenized

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = ("distilbert", "bert", "roberta")

PAD, UNK, CLS, SEP = 0, 1, 2, 3
FIRST_WORD = 4
WORDS = 60


def word_ids(text: str) -> list[int]:
    """Ids of a text of `words`, as the word tokenizer gives them."""
    return [FIRST_WORD + int(word[1:]) for word in text.split()]


def words(numbers: Sequence[int]) -> str:
    """A text with one token a number."""
    return " ".join(f"w{n}" for n in numbers)


@lru_cache
def word_tokenizer(cls_at_the_end: bool = False) -> Tokenizer:
    """One token per blank-separated word; frames windows as BERT does, or as XLNet does."""
    vocab = {"[PAD]": PAD, "[UNK]": UNK, "[CLS]": CLS, "[SEP]": SEP} | {f"w{n}": FIRST_WORD + n for n in range(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    if cls_at_the_end:
        single, pair = "$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"
    tokenizer.post_processor = TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return tokenizer


def word_spec(max_length: int = 512, cls_at_the_end: bool = False) -> EncoderSpec:
    """The word tokenizer as an encoder; with `cls_at_the_end`, the passage comes first as in XLNet."""
    return make_spec(
        word_tokenizer(cls_at_the_end),
        pad_id=PAD,
        cls_id=CLS,
        max_length=max_length,
        uses_type_ids=True,
        passage_first=cls_at_the_end,
    )


def strings(texts: Sequence[str]) -> pa.StringArray:
    return pa.array(list(texts), type=pa.string())


def prepare(spec: EncoderSpec, qa: QAParameters, pairs: Sequence[tuple[str, str]]) -> tuple[Tokenized, Rejected]:
    """`prepare_pairs` of (question, passage) pairs."""
    return prepare_pairs(spec, qa, strings([q for q, _ in pairs]), strings([c for _, c in pairs]))


@dataclass(frozen=True)
class Answer:
    """One answer; abstaining is (None, -1, -1)."""

    text: str | None
    start: int
    end: int
    score: float


def batch_of(model: PreTrainedModel, lengths: Sequence[int]) -> Batch:
    """Windows of these lengths, of tokens that are not special; the second half of each is the passage."""
    tokens = np.array(lengths, np.int64)
    ids = np.random.default_rng(0).integers(10, model.config.vocab_size, sum(lengths), dtype=np.int32)
    half = tokens // 2
    types = np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(np.int32)
    has_types = getattr(model.config, "type_vocab_size", 1) > 1
    return Batch(ids, types if has_types else None, tokens, half, tokens - half, None, PAD)


def answers_of(answers: Answers) -> list[list[Answer]]:
    """Every row's answers."""
    texts = answers.text.to_pylist()
    flat = [
        Answer(text, int(start), int(end), float(score))
        for text, start, end, score in zip(texts, answers.start, answers.end, answers.score, strict=True)
    ]
    bounds = [int(offset) for offset in answers.offsets]
    return [flat[a:b] for a, b in pairwise(bounds)]


def same_up_to_ties(got: Sequence[Answer], expected: Sequence[Answer], tolerance: float = 1e-4) -> bool:
    """Whether scores agree to `tolerance`, and the spans too, except among spans that score that close."""
    if len(got) != len(expected):
        return False
    for position, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if abs(mine.score - theirs.score) > tolerance:
            return False
        if (mine.text, mine.start, mine.end) == (theirs.text, theirs.start, theirs.end):
            continue
        others = [other.score for i, other in enumerate(expected) if i != position]
        if not any(abs(score - theirs.score) <= tolerance for score in others):
            return False
    return True


def assert_same_results(got: Results, expected: Results) -> None:
    """Scores and vectors to 1e-5, spans up to ties."""
    assert (got.answers is None, got.embeddings is None, got.window_states is None) == (
        expected.answers is None,
        expected.embeddings is None,
        expected.window_states is None,
    )
    if got.answers is not None and expected.answers is not None:
        for mine, theirs in zip(answers_of(got.answers), answers_of(expected.answers), strict=True):
            assert same_up_to_ties(mine, theirs, 1e-5)
    if got.embeddings is not None and expected.embeddings is not None:
        np.testing.assert_allclose(got.embeddings, expected.embeddings, atol=1e-6)
    if got.window_states is not None and expected.window_states is not None:
        for states, others in zip(got.window_states, expected.window_states, strict=True):
            np.testing.assert_allclose(states, others, atol=1e-5)


def same_places(got: Sequence[Answer], expected: Sequence[Answer]) -> bool:
    return [(a.text, a.start, a.end) for a in got] == [(a.text, a.start, a.end) for a in expected]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


class TableBackend(SynchronousBackend):
    """A model of two tables: a token's logits and hidden state depend on its id alone.

    Like a real device it computes padding too, and has no more room than `room` tokens a pass.
    """

    def __init__(self, room: int | None = None, logits: float = 3.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.start_table = rng.normal(0, logits, FIRST_WORD + WORDS).astype(np.float32)
        self.end_table = rng.normal(0, logits, FIRST_WORD + WORDS).astype(np.float32)
        self.hidden_table = rng.normal(0, 1, (FIRST_WORD + WORDS, 5)).astype(np.float32)
        self.shapes: list[tuple[int, int]] = []
        self.room: float = math.inf if room is None else room

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def layout(self) -> BatchLayout:
        return BatchLayout.PADDED

    @property
    def hidden_size(self) -> int:
        return 5

    @property
    def memory_limit(self) -> int | None:
        return None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        self.shapes.append(batch.input_ids.shape)
        if batch.input_ids.size > self.room:
            raise OutOfMemory("the table is full")
        start, end = self.start_table[batch.input_ids], self.end_table[batch.input_ids]
        pooled = None
        if pool_weights is not None:
            pooled = np.einsum("nps,nsd->npd", pool_weights, self.hidden_table[batch.input_ids])
        hidden = self.hidden_table[batch.input_ids] if want_hidden else None
        return PassOutput(start if want_spans else None, end if want_spans else None, pooled, None, hidden)


def run_pass(engine: Engine, shares: Sequence[Share], turn: DeviceTurn, *, online: bool = False) -> bool:
    """A pass from its beginning to its end; False where it did not take place."""
    flight = engine.submit(shares, turn, online=online)
    output = None if flight is None else engine.wait(flight)
    if flight is None or output is None:
        return False
    errors = [error for error in engine.keep(flight, output) if error is not None]
    if errors:
        raise errors[0]
    return True


def hand_batch(
    lengths: Sequence[int], passage_start: Sequence[int], passage_length: Sequence[int], cls: int | None
) -> Batch:
    """A batch that only says where passages stand."""
    return Batch(
        ids=np.zeros(sum(lengths), dtype=np.int32),
        types=None,
        lengths=np.array(lengths, dtype=np.int64),
        passage_start=np.array(passage_start, dtype=np.int64),
        passage_length=np.array(passage_length, dtype=np.int64),
        cls=None if cls is None else np.full(len(lengths), cls, dtype=np.int64),
        pad_id=PAD,
    )


def random_logits(
    shapes: Sequence[tuple[int, int]], has_cls: bool, levels: int, spread: float, rng: np.random.Generator
) -> tuple[Batch, Floats, Floats]:
    """A batch with start and end logits, [n, S] each, from 0 to `spread`, of which few `levels` make many equal.

    Args:
        shapes: tokens of the passage and of the question of each window.
    """
    starts, counts = [2 + question for _, question in shapes], [passage for passage, _ in shapes]
    batch = hand_batch([s + c + 1 for s, c in zip(starts, counts, strict=True)], starts, counts, 0 if has_cls else None)
    start, end = (
        (np.round(rng.random((batch.windows, batch.width)) * levels) / levels * spread).astype(np.float32)
        for _ in range(2)
    )
    return batch, start, end


def ints(values: Sequence[int] | npt.NDArray[Any]) -> Ints:
    return np.asarray(values, dtype=np.int32)


def keep_runtimes(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """For the length of a test, there are no other built-in runtimes."""
    kept = {name: RUNTIMES[name] for name in names}
    # Backwards, since what is undone last is last in the dictionary again: its order is one that users see.
    for name in reversed(list(RUNTIMES)):
        monkeypatch.delitem(RUNTIMES, name)
    for name, place in kept.items():
        monkeypatch.setitem(RUNTIMES, name, place)
