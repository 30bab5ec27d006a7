"""What a reply's columns are estimated at is about what they are."""

from dataclasses import replace

import pytest

from actors.parameters import AttentionParameters, EmbeddingParameters, TokenVectorParameters
from actors.serving.gateway.protocols.columns import json_parts
from actors.serving.replica.column_checks import estimated_bytes
from actors.serving.replica.replica import Replica
from actors.serving.types import WINDOWS, Request, WantedColumns
from tests.actors.serving.helpers import LOVELACE, WHERE
from tests.actors.serving.replica.test_replica import reply

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
