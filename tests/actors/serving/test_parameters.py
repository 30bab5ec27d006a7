"""The config of a service that several tenants share."""

import pytest
from pydantic import ValidationError

from actors.serving.parameters import ServiceParameters


def _tenants(**tenants: dict[str, object]) -> ServiceParameters:
    return ServiceParameters.model_validate({"tenants": tenants})


def test_weights_are_those_of_the_config_and_the_default_tenant_is_always_there() -> None:
    assert dict(ServiceParameters().weights.weights) == {"default": 1.0}
    found = _tenants(search={"variable": "SEARCH", "weight": 3}, mining={"file": "/keys"})
    assert dict(found.weights.weights) == {"default": 1.0, "search": 3.0, "mining": 1.0}
    assert dict(_tenants(default={"weight": 5}).weights.weights) == {"default": 5.0}


@pytest.mark.parametrize(
    ("tenants", "said"),
    [
        ({"search": {"weight": 2}}, r"the tenant search has no key; name some by tenants\.search\.file"),
        ({"Search Team": {"file": "/keys"}}, "'Search Team' is no name of a tenant"),
        ({"none": {"file": "/keys"}}, "'none' is no name of a tenant"),
        ({"search": {"file": "/keys", "weight": 0}}, "greater than 0"),
        ({"search": {"file": "/keys", "tokens_per_minute": 0}}, "greater than or equal to 1"),
        ({"search": {"file": "/keys", "wieght": 2}}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_no_tenant_is_named(tenants: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _tenants(**tenants)


def test_a_body_of_the_longest_length_has_room_in_what_is_left_of_what_is_kept() -> None:
    limits = {"max_request_bytes": 1 << 20, "max_bytes_in_flight": 1 << 20}
    assert ServiceParameters.model_validate({"limits": limits}).weights
    with pytest.raises(ValidationError, match=r"is less than twice limits\.max_request_bytes"):
        ServiceParameters.model_validate({"limits": limits, "tenants": {"search": {"file": "/keys"}}})
