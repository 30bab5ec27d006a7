"""The model card of what is exported or bundled, wherever the model is."""

from pathlib import Path

import fsspec

from actors.models.hub import is_hub_id
from actors.parameters import ModelParameters

CARD = "README.md"


def card_text(model: ModelParameters, folder: Path) -> str:
    """The text of a model's card, its metadata included.

    Args:
        folder: where `find_model` found the model, without the card where it is none of this machine's.

    Raises:
        FileNotFoundError: it has none.
        Exception: it cannot be read; every store raises its own kind.
    """
    if is_hub_id(model.name):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return Path(hf_hub_download(model.name, CARD, revision=model.revision)).read_text(encoding="utf-8")
        except EntryNotFoundError as error:
            raise FileNotFoundError(f"{model.name} has no {CARD}") from error
    if "://" in model.name:
        fs, root = fsspec.core.url_to_fs(model.name, **model.storage)
        return bytes(fs.cat_file(f"{root.rstrip('/')}/{CARD}")).decode()
    return (folder / CARD).read_text(encoding="utf-8")
