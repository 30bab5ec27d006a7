"""What people call a model."""

import pytest

from actors.models.hub import is_shipped
from actors.models.names import SHIPPED, SHIPPED_NAMES, accepted_names, public_name


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
