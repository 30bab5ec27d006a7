"""A model folder's config.json, as transformers reads it."""

from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def load_config(folder: Path) -> "PreTrainedConfig":
    """The folder's config.json.

    Raises:
        ModelError: it cannot be read.
    """
    # Not before here: it brings torch and 140 MB, also to processes that only name what loads a model.
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return config
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder / 'config.json'}: {first_line(error)}") from error
