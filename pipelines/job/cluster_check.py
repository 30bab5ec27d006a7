"""Whether a Ray cluster answers at an address: `ray.init` would try for ten minutes, and hear no signal meanwhile."""

import os
import socket

from ray._private import services
from ray._private.authentication import authentication_token_setup
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from pipelines.job.deadline import within

_CLIENT = "ray://"
_SECONDS = 10.0
_PORT_SECONDS = 3.0
_LAST_PORT = 65535


def check_answers(address: str) -> None:
    """Returns once the cluster at an address has answered, with the token that it wants, where this machine has one.

    Args:
        address: HOST:PORT, auto, or ray://HOST:PORT; of the last only the port is tried.

    Raises:
        ConnectionError: nothing answers within some seconds, or it wants another token; the message says which.
        ValueError: it is no address.
    """
    place = address.removeprefix(_CLIENT)
    if not address.startswith(_CLIENT):
        # Looks for Ray's processes on this machine where the address is `auto`.
        place = services.canonicalize_bootstrap_address(address) or address
    _check_port(place)
    if address.startswith(_CLIENT):
        _take_token()
        return
    try:
        _ask(place)
    except AuthenticationError as error:
        if not _take_token():
            raise ConnectionError(_token_wanted(place)) from error
        try:
            _ask(place)
        except AuthenticationError as again:
            raise ConnectionError(_token_wanted(place)) from again


def _check_port(place: str) -> None:
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise ValueError(f"{place} names no host and port; name HOST:PORT, such as 10.0.0.1:6379")
    try:
        within(_SECONDS, place, lambda: socket.create_connection((host.strip("[]"), int(port)), _PORT_SECONDS).close())
    except OSError as error:
        raise ConnectionError(f"nothing answers at {place} ({error.strerror or error})") from error


def _ask(place: str) -> None:
    try:
        within(_SECONDS, f"Ray at {place}", lambda: GcsClient(address=place))
    except TimeoutError as late:
        raise ConnectionError(f"{late}: something listens there, and it is no Ray, or one that hangs") from late


def _take_token() -> bool:
    """Has Ray send this machine's token; False where there is none. Ray does so by itself only for `auto`."""
    if os.environ.get(authentication_token_setup.AUTH_MODE_ENV_VAR) is not None:
        return False
    return authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _token_wanted(place: str) -> str:
    return (
        f"the cluster at {place} wants a token that it did not get; set RAY_AUTH_MODE=token, and have the cluster's "
        "token in RAY_AUTH_TOKEN or in ~/.ray/auth_token"
    )
