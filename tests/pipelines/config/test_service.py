"""The config of a service with several models, as files and options give it."""

from pathlib import Path

import pytest
import yaml

from pipelines.cli.options import served_models, with_options
from pipelines.config.loader import as_yaml, changed_yaml, load_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError

MODELS = """
model: {backend: onnxruntime, name: minilm-qa}
models:
  - model: {name: org/a}
    embedding: {pooling: cls}
  - name: b
    model: {name: s3://bucket/mine, storage: {secret: hush}}
    replicas: {min: 2, max: 2}
"""


def _names(config: ServeConfig) -> list[str]:
    return [one.model.name for one in config.served()]


def test_a_file_lists_models_and_printing_it_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(MODELS)
    config = load_config(ServeConfig, file, ["model.threads=1"])
    a, b = config.served()
    assert (a.embedding.pooling, a.model.backend, a.model.threads) == ("cls", "onnxruntime", 1)
    assert (b.public_name, b.replicas.max, b.embedding.pooling) == ("b", 2, "mean")
    for printed in (changed_yaml(config), as_yaml(ServeConfig, config=config)):
        assert "hush" not in printed
        file.write_text(printed.replace("***", "hush"))
        assert load_config(ServeConfig, file, []) == config


def test_options_take_the_place_of_what_a_file_lists(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(MODELS)

    def served(*names: str) -> list[str]:
        return _names(load_config(ServeConfig, file, with_options(None, served_models(names))))

    assert served() == ["org/a", "s3://bucket/mine"]
    assert served("x") == ["x"]
    assert served("x", "y") == ["x", "y"]
    # What the environment says of one model counts where nothing else says which.
    assert _names(load_config(ServeConfig, file, [], {"model.name": "of-the-host"})) == ["org/a", "s3://bucket/mine"]
    assert _names(load_config(ServeConfig, None, [], {"model.name": "of-the-host"})) == ["of-the-host"]


def test_a_wrong_key_of_an_entry_is_named(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    tree = {"models": [{"model": {"name": "a"}}, {"model": {"name": "b"}, "replicas": {"mn": 2}}]}
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match=r"unknown key models\.1\.replicas\.mn"):
        load_config(ServeConfig, file, [])
    with pytest.raises(ConfigError, match="models: two models are called a; give one of them a `name`"):
        load_config(ServeConfig, None, ["models=[/x/a, /y/a]"])
