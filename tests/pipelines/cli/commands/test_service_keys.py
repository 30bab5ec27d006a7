from pathlib import Path

import pytest

from actors.serving.key_parameters import KeyParameters
from pipelines.cli.commands.service_keys import keys_of
from pipelines.config.loader import load_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPANMILL_KEYS", "SPANMILL_OPEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def _keys(*words: str) -> KeyParameters:
    return keys_of(load_config(ServeConfig, None, list(words)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_where_only_this_machine_can_ask_no_key_is_needed(host: str) -> None:
    assert _keys(f"http.host={host}") == KeyParameters(none=True)


def test_another_cluster_decides_by_its_own_environment() -> None:
    """It may have keys that this machine knows nothing of: `none` would be refused there, and nobody has said it."""
    assert _keys("ray.address=10.0.0.1:6379") == KeyParameters()
    assert _keys("ray.address=10.0.0.1:6379", "keys.none=true") == KeyParameters(none=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "'::'", "192.0.2.7", "no-such-host.invalid", "''"])
def test_where_others_can_it_is_refused_unless_it_is_said(host: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.host: other machines reach .* set SPANMILL_KEYS .* keys\.none: true"):
        _keys(f"http.host={host}")
    assert _keys(f"http.host={host}", "keys.none=true") == KeyParameters(none=True)


def test_the_usual_variable_is_named_so_that_every_machine_must_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_KEYS", "one")
    for host in ("0.0.0.0", "127.0.0.1"):
        assert _keys(f"http.host={host}") == KeyParameters(variable="SPANMILL_KEYS")
    monkeypatch.setenv("SPANMILL_KEYS", " ")
    with pytest.raises(ConfigError, match="SPANMILL_KEYS is empty"):
        _keys()
    # Another cluster has an environment of its own, and reads the variable there.
    assert _keys("ray.address=10.0.0.1:6379") == KeyParameters(variable="SPANMILL_KEYS")


def test_keys_that_cannot_be_read_are_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.file: .*keys cannot be read"):
        _keys(f"keys.file={tmp_path / 'keys'}")
    (tmp_path / "keys").write_text("\n# nobody yet\n")
    with pytest.raises(ConfigError, match=r"keys\.file: .*keys holds no key"):
        _keys(f"keys.file={tmp_path / 'keys'}")


def test_the_environment_may_say_that_nobody_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_OPEN", "1")
    assert _keys("http.host=0.0.0.0") == KeyParameters(none=True)
    monkeypatch.setenv("SPANMILL_KEYS", "one")
    assert _keys("http.host=0.0.0.0") == KeyParameters(variable="SPANMILL_KEYS"), "keys that are set count"
    monkeypatch.delenv("SPANMILL_KEYS")
    monkeypatch.setenv("SPANMILL_OPEN", "0")
    with pytest.raises(ConfigError, match="set SPANMILL_KEYS"):
        _keys("http.host=0.0.0.0")


def test_where_tenants_have_keys_nobody_may_ask_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_KEYS", "one")
    tenant = "tenants.search.variable=SEARCH_KEYS"
    for host in ("127.0.0.1", "0.0.0.0"):
        assert _keys(f"http.host={host}", tenant) == KeyParameters()
    assert _keys("keys.none=true", tenant) == KeyParameters(none=True)
    monkeypatch.delenv("SEARCH_KEYS")
    with pytest.raises(ConfigError, match=r"tenants\.search\.variable: SEARCH_KEYS is not set"):
        _keys(tenant)
