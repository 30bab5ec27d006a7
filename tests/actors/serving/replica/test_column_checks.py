"""What a reply's columns are estimated at is about what they are."""

from dataclasses import replace

import pytest

from actors.parameters import AttentionParameters, EmbeddingParameters, TokenVectorParameters
from actors.serving.gateway.protocols.bodies.columns import json_parts
from actors.serving.parameters import LimitParameters
from actors.serving.replica.column_checks import estimated_bytes
from actors.serving.replica.replica import Replica
from actors.serving.types import WINDOWS, Reply, Request, WantedColumns
from tests.actors.serving.helpers import LOVELACE, WHERE
from tests.actors.serving.replica.test_replica import ask, refusal, reply

TEXTS = (LOVELACE, "Ada keeps three goats in Brindle. " * 30, LOVELACE)
ASKED = {
    "everything of pairs": Request(
        "x",
        "answer",
        TEXTS,
        (WHERE,) * 3,
        columns=WantedColumns(
            ("tokens", "embedding", "token_vectors", "hidden", "attention", "attribution"), probabilities=True
        ),
    ),
    "all of the attention of texts": Request(
        "x",
        "encode",
        TEXTS[:1],
        columns=WantedColumns(("attention",), attention=AttentionParameters(top=None, layers=(1, 6))),
    ),
    "small vectors": Request(
        "x",
        "encode",
        TEXTS,
        embedding=EmbeddingParameters(dtype="int8", dimensions=100),
        columns=WantedColumns(("token_vectors", "embedding"), token_vectors=TokenVectorParameters(dtype="int8")),
    ),
}


@pytest.mark.parametrize("asked", list(ASKED))
def test_estimates_are_near_and_rather_more_than_less(replica: Replica, asked: str) -> None:
    request, spec = ASKED[asked], replica.actor.engine.spec
    estimated = estimated_bytes(request, replica.prepare(request), spec, replica.card)
    columns = request.columns.names + ((WINDOWS,) if request.columns.probabilities else ())
    assert set(estimated) == set(columns)
    for name in columns:
        alone = replace(request.columns, names=() if name == WINDOWS else (name,), probabilities=name == WINDOWS)
        got = reply(replica, replace(request, columns=alone)).columns
        assert got is not None
        written = sum(map(len, json_parts(got, "rows").values()))
        assert 0.95 * written < estimated[name] < 2 * written, name


def test_nothing_is_asked_and_nothing_estimated(replica: Replica) -> None:
    request = replace(ASKED["everything of pairs"], columns=WantedColumns())
    assert estimated_bytes(request, replica.prepare(request), replica.actor.engine.spec, replica.card) == {}


def test_vectors_of_all_layers_count_by_the_windows_that_they_are_kept_of(replica: Replica) -> None:
    """A text of hundreds of windows has one vector of each layer in its reply."""
    card, limits = replica.card, LimitParameters(max_reply_bytes=1 << 20)
    limited, window = Replica(replica.actor, card, limits=limits), 4 * (card.layers + 1) * card.hidden_size
    request = Request(
        "x",
        "encode",
        ("word " * 600,),
        embedding=EmbeddingParameters(max_seq_len=8),
        columns=WantedColumns(("hidden",)),
    )
    assert (1 << 20) // window < 100
    got = refusal(limited, request)
    assert (got.status, got.reason) == (413, "too_many_windows")
    assert "hidden keeps 1.0 MiB of the 100 windows" in got.message
    assert isinstance(ask(limited, replace(request, texts=("word " * 500,))), Reply)
