"""How a shard is cut into pieces; pipelines/cli/commands/test_serve.py tests what replicas make of them."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.parameters import QAParameters
from actors.tokenization.tokenized import Tokenized
from pipelines.stages.model.shard_pieces import ShardPieces
from tests.actors.helpers import prepare, word_spec, words


def _shard(passages: list[int]) -> Tokenized:
    """A row for every number of tokens in a passage; long passages have several windows."""
    qa = QAParameters(max_seq_len=64, doc_stride=8)
    return prepare(word_spec(), qa, [("w1", words([n % 60 for n in range(length)])) for length in passages])[0]


def _per_owner(shard: Tokenized) -> tuple[list[int], list[int]]:
    """Tokens of all windows of every owner, and of its longest."""
    windows = [shard.lengths(0)[shard.windows.owner == owner].tolist() for owner in range(shard.owners)]
    return [sum(lengths) for lengths in windows], [max(lengths) for lengths in windows]


def _all(pieces: ShardPieces, tokens: float) -> list[tuple[list[int], int]]:
    found = []
    while (cut := pieces.take(tokens)) is not None:
        found.append((cut[0].tolist(), cut[1]))
    return found


# The first example loads the tokenizer.
@settings(deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=30), st.floats(1, 600))
def test_pieces_hold_every_owner_once_by_length_and_no_more_than_they_may(passages: list[int], tokens: float) -> None:
    shard = _shard(passages)
    sizes, longest = _per_owner(shard)
    pieces = _all(ShardPieces(shard), tokens)
    order = [owner for owners, _ in pieces for owner in owners]
    assert sorted(order) == list(range(len(passages)))
    assert [longest[owner] for owner in order] == sorted(longest, reverse=True)
    for owners, said in pieces:
        assert said == sum(sizes[owner] for owner in owners)
        assert said <= tokens or len(owners) == 1
    for (_, one), (after, _) in pairwise(pieces):
        assert one + sizes[after[0]] > tokens, "the next would have fitted too"


def test_a_shard_without_rows_is_one_empty_piece() -> None:
    assert _all(ShardPieces(_shard([])), 100.0) == [([], 0)]


def test_pieces_grow_with_the_speed_and_end_when_nobody_wants_them() -> None:
    pieces = ShardPieces(_shard([20] * 10))
    assert [len(pieces.take(tokens)[0]) for tokens in (1.0, 43.0)] == [1, 2]  # type: ignore[index]
    pieces.drop()
    assert pieces.take(1e9) is None


def test_owners_are_numbered_by_their_place_in_a_piece() -> None:
    shard = _shard([5, 150, 30])
    piece = shard.of_owners(np.array([1, 0], dtype=np.int32))
    of_first, of_second = (piece.windows.owner == owner for owner in (0, 1))
    assert piece.lengths(0)[of_first].tolist() == shard.lengths(0)[shard.windows.owner == 1].tolist()
    assert piece.lengths(0)[of_second].tolist() == shard.lengths(0)[shard.windows.owner == 0].tolist()
