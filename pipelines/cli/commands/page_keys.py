"""Who may ask the page of `spanmill view`: no other machine without a key. It needs no Ray, as the service does."""

import ipaddress
import os
import socket

from actors.serving.gateway.middleware.auth import NoKeysError, read_keys
from actors.serving.key_parameters import KEYS_VARIABLE, KeyParameters
from pipelines.config.environment import is_open
from pipelines.errors import ConfigError


def page_keys(host: str) -> tuple[bytes, ...]:
    """The keys of the usual variable; none are needed where nobody but this machine can ask.

    The environment may say that nobody needs one (`environment.OPEN`), as a container does whose host checks who asks.

    Raises:
        ConfigError: other machines could ask without a key, or the variable holds none.
    """
    if KEYS_VARIABLE in os.environ:
        try:
            return read_keys(KeyParameters(variable=KEYS_VARIABLE))
        except NoKeysError as error:
            raise ConfigError(str(error)) from error
    if is_loopback(host) or is_open(os.environ):
        return ()
    raise ConfigError(
        f"--host: other machines reach {host or 'every address'}, and there are no API keys; set {KEYS_VARIABLE} to "
        "keys with commas between"
    )


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches it; an empty host is every address, and a name without one is none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)
