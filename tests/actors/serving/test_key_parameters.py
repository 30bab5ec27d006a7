"""The tenants of a config; gateway/middleware/test_auth.py has their keys."""

import pytest
from pydantic import ValidationError

from actors.serving.parameters import ServiceParameters


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
        ServiceParameters.model_validate({"tenants": tenants})
