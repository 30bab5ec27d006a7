"""What a worker finds on its machine. Its work is in test_finetune."""

from pathlib import Path

import pytest

from actors.errors import ModelError
from actors.training.setup import Sources
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.training.worker import find_sources

TINY = Path(__file__).parents[2] / "golden" / "models" / "distilbert"


def _config(*words: str) -> FinetuneConfig:
    return load_config(FinetuneConfig, None, words)


def test_models_by_their_names() -> None:
    assert find_sources(_config(f"base.name={TINY}")) == Sources(TINY, None, False)
    both = _config(f"base.name={TINY}", f"teacher.name=file://{TINY}", "halve=true")
    found = find_sources(both)
    assert (found.base, found.halved) == (TINY, True)
    assert found.teacher is not None
    assert (found.teacher / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()


@pytest.mark.parametrize("key", ["base", "teacher"])
def test_a_model_that_is_not_there_is_named_by_its_key(key: str) -> None:
    with pytest.raises(ModelError, match=rf"^{key}\.name: there is no folder /no/where; name another with --{key}$"):
        find_sources(_config(f"base.name={TINY}", f"{key}.name=/no/where"))
    with pytest.raises(ModelError, match=rf"^{key}\.name: nosuch://x cannot be read"):
        find_sources(_config(f"base.name={TINY}", f"{key}.name=nosuch://x"))
