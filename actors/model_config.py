"""A model folder's config.json, as transformers reads it."""

from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Kinds of model whose position embeddings begin behind the padding token's id."""


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


def longest_window(config: "PreTrainedConfig") -> int:
    """Tokens of the longest window that a model has positions for; more than any text has where it has no limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 0:  # XLNet, which has no limit, says -1
        return 1 << 30
    # RoBERTa's kin count positions from padding_idx + 1, so their table is that much longer than their windows.
    offset = config.pad_token_id + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0
    return int(positions) - offset
