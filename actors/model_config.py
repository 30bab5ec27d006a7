"""A model folder's config.json, as transformers reads it."""

from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from actors.errors import ModelError, first_line


def load_config(folder: Path) -> PreTrainedConfig:
    """The folder's config.json.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return config
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder / 'config.json'}: {first_line(error)}") from error
