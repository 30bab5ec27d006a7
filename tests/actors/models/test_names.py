"""What people call a model."""

import pytest

from actors.models.hub import is_shipped
from actors.models.names import (
    SHIPPED,
    SHIPPED_NAMES,
    accepted_names,
    check_distinct,
    either,
    public_name,
    public_names,
)


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("distilbert/distilbert-base", "distilbert/distilbert-base"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("minilm-qa", "minilm-qa"),
        ("models/minilm-qa", "minilm-qa"),
        ("models/mine", "mine"),
        ("/srv/models/mine/", "mine"),
        ("~/mine", "mine"),
        ("../mine", "mine"),
        ("here/is/mine", "mine"),
        ("s3://bucket/models/mine", "mine"),
    ],
)
def test_clients_do_not_see_where_a_model_lies(name: str, public: str) -> None:
    assert public_name(name) == public


def test_the_model_that_ships_has_one_name_however_it_is_named() -> None:
    assert {public_name(name) for name in SHIPPED_NAMES} == {SHIPPED}
    assert all(map(is_shipped, SHIPPED_NAMES))


def test_older_and_shorter_names_are_accepted() -> None:
    assert set(accepted_names("minilm-qa")) == set(SHIPPED_NAMES)
    assert set(accepted_names("org/base")) == {"org/base", "base", "models/base"}


def test_of_several_models_a_short_name_means_one_or_none() -> None:
    found = public_names(["org/base", "other/base", "mine", "base/mine"])
    assert {name: found[name] for name in ("org/base", "mine", "base/mine")} == {
        "org/base": "org/base",
        "mine": "mine",
        "base/mine": "base/mine",
    }
    assert not {"base", "models/base", "models/mine"} & set(found)
    assert public_names(["org/base"])["base"] == "org/base"


def test_names_of_several_models_are_distinct_and_so_are_their_paths() -> None:
    check_distinct(["org/base", "other/base", "org-base"])
    with pytest.raises(ValueError, match="two models are called mine; give one of them a `name`"):
        check_distinct(["mine", "other", "mine"])
    with pytest.raises(ValueError, match="/models/mine/answer could be a path of the model mine or of mine/answer"):
        check_distinct(["mine/answer", "mine"])


def test_names_in_a_sentence() -> None:
    assert [either("a"), either("ab"), either("abc")] == ["'a'", "'a' or 'b'", "'a', 'b' or 'c'"]
