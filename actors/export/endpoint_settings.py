"""What `spanmill bundle` tells the handler that it writes, in `_bundle.json`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from actors.errors import ModelError, first_line
from actors.parameters import EmbeddingParameters, QAParameters, Settings, SingleEmbedding

SETTINGS = "_bundle.json"
"""Its name begins with a line, so that the model's fingerprint does not follow it."""

EndpointTask = Literal["question-answering", "feature-extraction"]
"""As the Hugging Face hub calls them."""


class EndpointSettings(Settings):
    """How a bundle answers."""

    task: EndpointTask
    """question-answering loads the QA head, and embeds texts as well; feature-extraction embeds only."""

    precision: Literal["exact", "fast", "auto"] = "auto"
    """As `model.precision`."""

    qa: QAParameters = QAParameters()
    """What requests for answers get that do not say otherwise."""

    embedding: SingleEmbedding = EmbeddingParameters()
    """What requests for embeddings get that do not say otherwise."""

    max_inputs: int = Field(default=256, ge=1)
    """Most rows in one request."""

    spanmill: str = ""
    """The release that wrote the bundle."""

    source: str = ""
    """The model: its hub id, or the last part of its folder."""


def read_settings(folder: Path) -> EndpointSettings:
    """The settings of a bundle.

    Raises:
        ModelError: the folder is no bundle, or what it says cannot be used.
    """
    place = folder / SETTINGS
    try:
        return EndpointSettings.model_validate_json(place.read_bytes())
    except OSError as error:
        raise ModelError(f"{place}: {first_line(error)}; bundle the model again with spanmill bundle") from error
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"]) or "the file"
        raise ModelError(f"{place}: {where}: {found['msg']}") from error


def write_settings(folder: Path, settings: EndpointSettings) -> None:
    """Writes the settings of a bundle.

    Raises:
        OSError: they cannot be written.
    """
    (folder / SETTINGS).write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
