"""The configs that ship, and the documentation of every key."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import BaseModel

from actors.parameters import ChunkParameters, TokenVectorParameters
from pipelines.config.bundle import BundleConfig
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


def test_columns_are_in_the_order_in_which_they_are_written() -> None:
    config = load_config(AnswerConfig, None, ["output.columns=[attention,answers,tokens]"])
    assert config.output.columns == ("answers", "tokens", "attention")
    assert AnswerConfig().output.columns is None


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (AnswerConfig, ["output.columns=[]"], "no column is named"),
        (AnswerConfig, ["output.columns=[tokens,tokens]"], "a column is named twice: tokens, tokens"),
        (AnswerConfig, ["output.columns=[logits]"], "'answers', 'embedding', 'tokens'"),
        (EmbedConfig, ["output.columns=[answers]"], "names answers, and a job that embeds asks nothing"),
        (EmbedConfig, ["output.columns=[tokens,attribution]"], "names attribution, and a job that embeds asks nothing"),
        (AnswerConfig, ["token_vectors.layers=3"], "output.columns does not name it: add token_vectors there"),
        (AnswerConfig, ["output.columns=[answers]", "embedding.of=question"], "add embedding or hidden there"),
        (AnswerConfig, ["attention.top=null"], "output.columns does not name it: add attention there"),
        (EmbedConfig, ["output.columns=[token_vectors]", "token_vectors.layers=-1"], "greater than or equal to 0"),
        (EmbedConfig, ["output.columns=[token_vectors]", "token_vectors.layers=[1,1]"], "layers names one twice: 1, 1"),
        (EmbedConfig, ["output.columns=[token_vectors]", "token_vectors.layers=[]"], "layers is an empty list"),
        (EmbedConfig, ["output.columns=[token_vectors]", "token_vectors.dtype=int4"], "'float32', 'float16' or 'int8'"),
        (EmbedConfig, ["output.columns=[attention]", "attention.layers=[0]"], "greater than 0"),
        (EmbedConfig, ["output.columns=[attention]", "attention.top=0"], "greater than or equal to 1"),
        (
            AnswerConfig,
            ["output.columns=[answers,tokens]", "corpus.carry=[tokens]"],
            "corpus.carry and output.columns both name 'tokens'",
        ),
    ],
)
def test_columns_that_cannot_be_had(kind: type[AnswerConfig | EmbedConfig], words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(kind, None, words)


def test_a_carried_column_may_be_named_like_one_that_is_not_written() -> None:
    assert load_config(AnswerConfig, None, ["corpus.carry=[tokens]"]).corpus.carry == ("tokens",)


def test_one_layer_in_a_list_is_that_layer() -> None:
    words = ["output.columns=[token_vectors]", "token_vectors.layers=[2]"]
    assert load_config(EmbedConfig, None, words).token_vectors == TokenVectorParameters(layers=2)
    assert TokenVectorParameters(layers=(3, 1)).numbers == (1, 3)
    assert TokenVectorParameters().numbers is None


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


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (EmbedConfig, ["embedding.of=question"], "of is for answer jobs"),
        (EmbedConfig, ["embedding.pooling=[]"], "name a pooling, or several in a list: mean, cls, max, last"),
        (EmbedConfig, ["embedding.pooling=[mean, sum]"], "'sum' is no pooling; there are mean, cls, max, last"),
        (EmbedConfig, ["embedding.pooling=[mean, mean]"], "a pooling is named twice"),
        (EmbedConfig, ["embedding.dimensions=0"], "embedding.dimensions: Input should be greater than or equal to 1"),
        (EmbedConfig, ["embedding.dtype=int4"], "embedding.dtype"),
        (EmbedConfig, ["embedding={dtype: int8, normalize: false}"], "needs int8_range"),
        (EmbedConfig, ["embedding.int8_range=0.5"], "int8_range has no use with dtype: float32"),
        (EmbedConfig, ["embedding={dtype: int8, int8_range: .inf}"], "embedding.int8_range"),
        (AnswerConfig, ["embedding.of=[passage, context]"], "'context' is no text; there are passage, question"),
        (AnswerConfig, ["embedding.of=question", "corpus.carry=question_embedding"], "rename the input's"),
        (EmbedConfig, ["output.columns=[hidden]", "embedding.pooling=max"], "one pooling of mean, cls and last"),
        (AnswerConfig, ["output.columns=[hidden]", "embedding.of=[passage, question]"], "name one text"),
        (ServeConfig, ["embedding.pooling=[mean, cls]"], "one vector is given for a text"),
        (ServeConfig, ["embedding.dtype=binary"], "replies hold float32 or float16"),
        (BundleConfig, ["embedding.of=question"], "of is for answer jobs"),
    ],
)
def test_vectors_that_cannot_be_had(kind: type[BaseModel], words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(kind, None, words)


def test_a_carried_column_may_be_named_like_vectors_of_another_pooling() -> None:
    load_config(EmbedConfig, None, ["corpus.carry=[embedding_max]"])
    load_config(EmbedConfig, None, ["corpus.carry=[embedding_max]", "embedding.pooling=[mean, cls]"])


def test_a_list_of_one_pooling_is_that_pooling() -> None:
    assert load_config(EmbedConfig, None, ["embedding.pooling=[max]"]).embedding.columns == ("embedding",)
    assert load_config(EmbedConfig, None, ["embedding.pooling=[last, mean]"]).embedding.pooling == ("mean", "last")


def test_a_tenant_is_for_jobs_that_share_a_service() -> None:
    assert load_config(AnswerConfig, None, ["pool.kind=serve", "pool.tenant=search"]).pool.tenant == "search"
    with pytest.raises(ConfigError, match=r"tenant \(search\) says whose share .* share a service with --pool serve"):
        load_config(AnswerConfig, None, ["pool.tenant=search"])
