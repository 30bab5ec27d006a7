"""Where the page is served."""

import socket

import pytest

from pipelines.errors import ConfigError
from pipelines.view.server.serving import USUAL_PORT, address, bind


def test_a_port_that_is_taken_is_refused_where_it_was_named_and_else_another_is_taken() -> None:
    with bind("127.0.0.1", None) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1 port {port}: .*--port"):
            bind("127.0.0.1", port)
        with bind("127.0.0.1", None) as second:
            assert second.getsockname()[1] not in (port, USUAL_PORT)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        bind("192.0.2.1", None)
    with pytest.raises(ConfigError, match="no-such-host"):
        bind("no-such-host.invalid", None)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_address_is_one_that_a_browser_opens(host: str, shown: str) -> None:
    with bind(host, None) as listening:
        assert address(listening) == f"http://{shown}:{listening.getsockname()[1]}"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        with bind("::1", None) as listening:
            assert address(listening).startswith("http://[::1]:")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
