"""Who may ask a service that `spanmill serve` starts: no other machine without a key, unless the config says so."""

import ipaddress
import os
import socket

from actors.serving.gateway.middleware.auth import NO_KEYS, NoKeysError, read_keys
from actors.serving.parameters import KEYS_VARIABLE, KeyParameters
from pipelines.config.environment import is_open
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError
from pipelines.job.ray_cluster import address_of


def keys_of(config: ServeConfig) -> KeyParameters:
    """The keys of the config; where it names none, the variable of this process, or none where nobody else can ask.

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
            read_keys(keys)
        except NoKeysError as error:
            raise ConfigError(str(error)) from error
    return keys


def _named(config: ServeConfig) -> KeyParameters:
    keys = config.keys
    if keys.none or keys.file is not None or keys.variable is not None:
        return keys
    if KEYS_VARIABLE in os.environ:
        # By its name: a machine of the cluster that lacks it must not serve everybody.
        return KeyParameters(variable=KEYS_VARIABLE)
    if is_open(os.environ):
        return KeyParameters(none=True)
    if not is_loopback(config.http.host):
        raise ConfigError(f"http.host: other machines reach {config.http.host or 'every address'}, and {NO_KEYS}")
    return KeyParameters(none=address_of(config.ray) == "local")


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches it; an empty host is every address, and a name without one is none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def page_keys(host: str) -> tuple[bytes, ...]:
    """The keys of who may ask `spanmill view`: those of the variable; none are needed where nobody else can ask.

    Raises:
        ConfigError: other machines could ask without a key, or the variable holds none.
    """
    try:
        if KEYS_VARIABLE in os.environ:
            return read_keys(KeyParameters(variable=KEYS_VARIABLE))
    except NoKeysError as error:
        raise ConfigError(str(error)) from error
    if is_loopback(host) or is_open(os.environ):
        return ()
    raise ConfigError(
        f"--host: other machines reach {host or 'every address'}, and there are no API keys; set {KEYS_VARIABLE} to "
        "keys with commas between"
    )
