"""The config keys of who may ask the service: its API keys, and the tenants that they are of."""

import re
from collections.abc import Mapping

from pydantic import Field, model_validator

from actors.parameters import Settings
from actors.tenants import DEFAULT_TENANT, NO_TENANT

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
KEYS_VARIABLE = "SPANMILL_KEYS"
"""Environment variable whose keys count without being named."""


class KeyParameters(Settings):
    """Who may ask: whoever has one of the keys. A service without keys does not start, unless `none` says so."""

    file: str | None = None
    """File with one API key a line; lines that begin with # are left out."""

    variable: str | None = None
    """Environment variable that holds API keys, with commas between them; null takes those of SPANMILL_KEYS, where that
    is set."""

    none: bool = False
    """Let anybody ask who reaches the service. `spanmill serve` needs no keys where only its own machine reaches it."""

    @model_validator(mode="after")
    def _either(self) -> "KeyParameters":
        if self.none and (self.file is not None or self.variable is not None):
            raise ValueError("none lets anybody ask, and file or variable name keys; leave one of them out")
        return self


class TenantParameters(Settings):
    """A team that shares the service with others: its keys, its weight, and the limits of each of its keys."""

    file: str | None = None
    """File with one API key of the tenant a line; lines that begin with # are left out."""

    variable: str | None = None
    """Environment variable that holds API keys of the tenant, with commas between them."""

    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Its share of the replicas, beside the weights of the other tenants that wait at the same time."""

    requests_in_hand: int | None = Field(default=None, ge=1)
    """Requests that each of its keys may have in hand at once: 429 beyond. null sets no limit."""

    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens, as the model reads them, that each of its keys may have computed a minute: 429 beyond. A key that has
    used none of late may use those of a minute at once. null sets no limit."""

    @property
    def names_keys(self) -> bool:
        """Whether it says where keys of its own are."""
        return self.file is not None or self.variable is not None


def check_tenants(tenants: Mapping[str, TenantParameters]) -> None:
    """Raises ValueError where a name is that of no tenant, or a tenant has no key."""
    for name, tenant in tenants.items():
        if _NAME.fullmatch(name) is None or name == NO_TENANT:
            raise ValueError(
                f"{name!r} is no name of a tenant: use at most 63 of a-z, 0-9, - and _, a letter or digit first, "
                f"and not {NO_TENANT}"
            )
        if not tenant.names_keys and name != DEFAULT_TENANT:
            raise ValueError(f"the tenant {name} has no key; name some by tenants.{name}.file or .variable")
