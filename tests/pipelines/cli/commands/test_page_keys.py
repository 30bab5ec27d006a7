"""Who may ask the page over an output."""

import pytest

from pipelines.cli.commands.page_keys import is_loopback, page_keys
from pipelines.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPANMILL_KEYS", "SPANMILL_OPEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_where_only_this_machine_can_ask_no_key_is_needed(host: str) -> None:
    assert page_keys(host) == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "no-such-host.invalid", ""])
def test_where_others_can_a_key_is_needed(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match=r"--host: other machines reach .* set SPANMILL_KEYS"):
        page_keys(host)
    monkeypatch.setenv("SPANMILL_OPEN", "1")
    assert page_keys(host) == ()
    monkeypatch.setenv("SPANMILL_KEYS", "a, b")
    assert page_keys(host) == (b"a", b"b")


def test_keys_that_are_set_count_on_this_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_KEYS", "a")
    assert page_keys("127.0.0.1") == (b"a",)
    monkeypatch.setenv("SPANMILL_KEYS", " ")
    with pytest.raises(ConfigError, match=r"keys\.variable: SPANMILL_KEYS is empty"):
        page_keys("127.0.0.1")
