"""The configs that ship, and the documentation of every key."""

from fractions import Fraction
from pathlib import Path

import pytest

from actors.parameters import ChunkParameters
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import as_yaml, list_keys, load_config
from pipelines.config.quarantine_limit import QuarantineLimit
from pipelines.config.service import ServeConfig
from pipelines.config.training import FinetuneConfig
from pipelines.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
Kind = type[AnswerConfig] | type[EmbedConfig] | type[FinetuneConfig] | type[ServeConfig]
KINDS: list[tuple[str, Kind]] = [
    ("answer.yaml", AnswerConfig),
    ("embed.yaml", EmbedConfig),
    ("finetune.yaml", FinetuneConfig),
    ("serve.yaml", ServeConfig),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_files_that_ship_are_what_the_command_prints(name: str, kind: Kind) -> None:
    assert (CONFIGS / name).read_text(encoding="utf-8") == as_yaml(kind)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_files_that_ship_are_the_defaults(name: str, kind: Kind) -> None:
    assert load_config(kind, CONFIGS / name, []) == kind()


@pytest.mark.parametrize("kind", [AnswerConfig, EmbedConfig, FinetuneConfig])
def test_every_key_is_documented(kind: Kind) -> None:
    keys = list(list_keys(kind))
    assert len(keys) > 25
    assert [key for key, documentation, _ in keys if len(documentation) < 15] == []


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("100", QuarantineLimit(100, None)),
        ('"7"', QuarantineLimit(7, None)),
        ("0.5%", QuarantineLimit(None, Fraction(1, 200))),
        ("null", None),
    ],
)
def test_a_limit_is_a_number_or_a_share(value: str, limit: QuarantineLimit | None) -> None:
    assert load_config(EmbedConfig, None, [f"max_quarantined={value}"]).quarantine_limit == limit


def test_half_of_the_rows_may_be_bad_and_no_more() -> None:
    limit = AnswerConfig().quarantine_limit
    assert limit == EmbedConfig().quarantine_limit == QuarantineLimit(None, Fraction(1, 2))


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AnswerConfig().qa.top_k = 2


@pytest.mark.parametrize(
    ("kind", "overrides", "message"),
    [
        (EmbedConfig, ["chunk={tokens: 8, overlap: 8}"], r"chunk: overlap \(8\) has to be less than tokens \(8\)"),
        (EmbedConfig, ["chunk.tokens=0"], r"chunk\.tokens: .*greater than or equal to 1"),
        (EmbedConfig, ["chunk.by=sentences"], r"chunk\.by: .*; the nearest is sentence"),
        (EmbedConfig, ["chunk.tokens=8", "embedding.pooling=cls"], r"chunk\.context is document.*pooling is cls"),
        (AnswerConfig, ["chunk.tokens=8"], r"chunk is a key of embed jobs"),
        (AnswerConfig, ["chunk={tokens: 8}"], r"run spanmill embed"),
    ],
)
def test_chunks_that_cannot_be_made(
    kind: type[AnswerConfig] | type[EmbedConfig], overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(kind, None, overrides)


def test_chunks_of_their_own_may_be_pooled_in_any_way() -> None:
    config = load_config(EmbedConfig, None, ["chunk.context=chunk", "embedding.pooling=cls"])
    assert config.chunk == ChunkParameters(context="chunk")
