"""Who may ask a service that `spanmill serve` starts: no other machine without a key, unless the config says so."""

import os

from actors.serving.gateway.middleware.auth import NO_KEYS, KeysError, read_tenant_keys
from actors.serving.key_parameters import KEYS_VARIABLE, KeyParameters
from pipelines.cli.commands.page_keys import is_loopback
from pipelines.config.environment import is_open
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError
from pipelines.job.ray_cluster import address_of


def keys_of(config: ServeConfig) -> KeyParameters:
    """The keys of the config; where it names none, the variable of this process, or none where nobody else can ask.

    Where tenants have keys, nobody may ask without one, unless the config says so: `KeyParameters()` then.

    The environment of this process may say that nobody needs one (`environment.OPEN`), as a container does whose host
    checks who asks.

    A cluster that is not local has other machines and another environment. That nobody else can ask is never taken for
    granted there: it finds the keys, or says that there are none and how to do without.

    Raises:
        ConfigError: other machines could ask without a key, or the keys cannot be read on this machine, where a local
            cluster will read them; another cluster reads them itself.
    """
    keys = _named(config)
    if address_of(config.ray) == "local":
        try:
            read_tenant_keys(keys, config.tenants)
        except KeysError as error:
            raise ConfigError(str(error)) from error
    return keys


def _named(config: ServeConfig) -> KeyParameters:
    keys = config.keys
    if keys.none or keys.file is not None or keys.variable is not None:
        return keys
    if KEYS_VARIABLE in os.environ:
        # By its name: a machine of the cluster that lacks it must not serve everybody.
        return KeyParameters(variable=KEYS_VARIABLE)
    if any(tenant.names_keys for tenant in config.tenants.values()):
        return keys
    if is_open(os.environ):
        return KeyParameters(none=True)
    if not is_loopback(config.http.host):
        raise ConfigError(f"http.host: other machines reach {config.http.host or 'every address'}, and {NO_KEYS}")
    return KeyParameters(none=address_of(config.ray) == "local")
