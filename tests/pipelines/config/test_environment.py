"""What environment variables say of a service, and what counts more."""

import os
from pathlib import Path

import pytest

from pipelines.config.environment import is_open, service_settings
from pipelines.config.loader import load_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def test_without_variables_nothing_is_said() -> None:
    empty = dict.fromkeys(("SPANMILL_MODEL", "SPANMILL_MODEL_FOLDERS", "SPANMILL_PORT", "PORT", "SPANMILL_HOST"), "")
    for environ in ({}, empty):
        assert service_settings(environ) == {}
        assert load_config(ServeConfig, None, [], service_settings(environ)) == ServeConfig()


def test_each_variable_is_a_key() -> None:
    config = load_config(
        ServeConfig,
        None,
        [],
        service_settings(
            {
                "SPANMILL_MODEL": "org/model",
                "SPANMILL_HOST": "0.0.0.0",
                "SPANMILL_PORT": "9000",
                "SPANMILL_HEALTH_ROUTE": "/up",
            }
        ),
    )
    assert (config.model.name, config.http.host, config.http.port) == ("org/model", "0.0.0.0", 9000)
    assert config.gateway.health_route == "/up"


def test_an_option_counts_more_than_the_file_and_that_more_than_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("http: {host: 127.0.0.2}\nmodel.name: of-the-file\ngateway: {health_route: null}\n")
    said = service_settings(
        {
            "SPANMILL_MODEL": "of-the-variable",
            "SPANMILL_HOST": "127.0.0.3",
            "SPANMILL_PORT": "9000",
            "SPANMILL_HEALTH_ROUTE": "/up",
        }
    )
    config = load_config(ServeConfig, file, ["model.name=of-the-option"], said)
    assert (config.model.name, config.http.host, config.http.port) == ("of-the-option", "127.0.0.2", 9000)
    assert config.gateway.health_route is None
    assert load_config(ServeConfig, file, [], said).model.name == "of-the-file"


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"PORT": "1", "SAGEMAKER_BIND_TO_PORT": "2", "SPANMILL_PORT": "3"}, 3),
        ({"PORT": "1", "SAGEMAKER_BIND_TO_PORT": "2", "SPANMILL_PORT": ""}, 2),
        ({"PORT": "65535"}, 65_535),
    ],
)
def test_our_own_port_counts_most(environ: dict[str, str], port: int) -> None:
    assert service_settings(environ) == {"http.port": port}


@pytest.mark.parametrize("value", ["0", "65536", "80.5", "-1", " 80", "tcp://10.0.0.1:80", "٨٠", "9" * 5000])
def test_a_port_that_is_none_is_named_with_its_variable(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^PORT: .* is no port; set it to a number from 1 to 65535$"):
        service_settings({"PORT": value})


def test_the_first_folder_that_holds_anything_is_the_model(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("no model")
    nothing = [str(tmp_path / name) for name in ("none", "empty", "file")]
    assert service_settings({"SPANMILL_MODEL_FOLDERS": os.pathsep.join(nothing)}) == {}
    found = service_settings({"SPANMILL_MODEL_FOLDERS": os.pathsep.join([*nothing, "", model, str(other)])})
    assert found == {"model.name": model}
    # What is wrong with it is said when it is loaded: another model would answer without a word.
    assert service_settings({"SPANMILL_MODEL_FOLDERS": f"{other}{os.pathsep}{model}"}) == {"model.name": str(other)}
    assert service_settings({"SPANMILL_MODEL": "mine", "SPANMILL_MODEL_FOLDERS": model}) == {"model.name": "mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with pytest.raises(ConfigError, match=r"SPANMILL_MODEL_FOLDERS: .*closed cannot be read: Permission denied"):
        service_settings({"SPANMILL_MODEL_FOLDERS": str(closed)})


@pytest.mark.parametrize("route", ["health", "/", "//", "/up/", "/a b", "/{model}", "/up?x=1", "/ü"])
def test_a_health_route_is_a_path_of_its_own(route: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.health_route: a health route is a path such as /health"):
        load_config(ServeConfig, None, [], service_settings({"SPANMILL_HEALTH_ROUTE": route}))


def test_a_service_is_open_where_that_is_said_and_nowhere_else() -> None:
    assert is_open({"SPANMILL_OPEN": "1"})
    for environ in ({}, {"SPANMILL_OPEN": ""}, {"SPANMILL_OPEN": "0"}):
        assert not is_open(environ)
    with pytest.raises(ConfigError, match="SPANMILL_OPEN: 'yes' is neither 1, which lets anybody ask, nor 0"):
        is_open({"SPANMILL_OPEN": "yes"})
