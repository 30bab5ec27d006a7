"""What of a config is shown, and what is not."""

import pytest

from pipelines.config.secrets import HIDDEN, hidden


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"key": "a", "secret": "b", "anon": False}, {"key": HIDDEN, "secret": HIDDEN, "anon": False}),
        ({"client_kwargs": {"region_name": "x", "aws_session_token": "t"}},
         {"client_kwargs": {"region_name": "x", "aws_session_token": HIDDEN}}),
        ({"token": {"private_key": "p", "project_id": "q"}}, {"token": HIDDEN}),
        ({"account_key": "k", "sas_token": "s", "connection_string": "c"},
         {"account_key": HIDDEN, "sas_token": HIDDEN, "connection_string": HIDDEN}),
        ({"headers": {"Authorization": "Bearer x"}, "hosts": ["http://a:b@c:9000", "d"]},
         {"headers": {"Authorization": HIDDEN}, "hosts": [f"http://c:9000{HIDDEN}", "d"]}),
        ({"key": None, "token": ""}, {"key": None, "token": ""}),
        ("no mapping", HIDDEN),
    ],
)  # fmt: skip
def test_credentials_among_the_options_of_a_store_are_hidden(options: object, shown: object) -> None:
    assert hidden(options, "corpus.storage") == shown
    assert hidden({"corpus": {"storage": options}}) == {"corpus": {"storage": shown}}


def test_other_keys_are_shown_but_for_the_secrets_within_their_urls() -> None:
    config = {"keys": {"file": "keys.txt", "variable": "KEYS"}, "batching": {"max_tokens": 3}, "carry": ("key",)}
    assert hidden(config) == config
    assert hidden("s3://bucket/model", "model.name") == "s3://bucket/model"
    assert hidden("https://me:word@host/model?sig=1", "model.name") == f"https://host/model{HIDDEN}"
