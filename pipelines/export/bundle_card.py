"""The card of a bundle: that of the model, with what it is as an endpoint."""

import re
from typing import Any

import yaml
from huggingface_hub import RepoCard

from actors.errors import first_line
from actors.export.endpoint_settings import EndpointSettings
from pipelines.errors import ConfigError
from pipelines.export.templates import render

_BEGIN, _END = "<!-- spanmill bundle -->", "<!-- end of spanmill bundle -->"
_SECTION = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", re.DOTALL)
_TAGS = ("endpoints-template", "spanmill")
"""The first is what the hub lists repositories with a handler by."""


def bundle_card(text: str | None, settings: EndpointSettings, modules: str) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads.

    What the model's card says is kept, text and metadata; `pipeline_tag` alone becomes the bundle's task, and tags are
    added. What the endpoint is and how to ask it comes behind the text, in place of what an earlier bundle said.

    Args:
        text: the model's card; None where it has none.
        modules: the folder of the modules.

    Raises:
        ConfigError: the metadata of the model's card cannot be read.
    """
    try:
        card = RepoCard(text or "")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"README.md of {settings.source}: its metadata cannot be read: {first_line(error)}; mend or remove it"
        ) from error
    metadata: dict[str, Any] = card.data.to_dict()
    tags = metadata.get("tags") or []
    given = [tags] if isinstance(tags, str) else list(tags)
    metadata.setdefault("library_name", "transformers")
    metadata |= {"pipeline_tag": settings.task, "tags": [*given, *(tag for tag in _TAGS if tag not in given)]}
    own = _SECTION.sub("", str(card.text)).strip() or f"# {settings.source}"
    section = render("bundle_card.md.j2", settings=settings, modules=modules).strip()
    said = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip()
    return f"---\n{said}\n---\n\n{own}\n\n{_BEGIN}\n{section}\n{_END}\n"


def says_another_task(text: str | None, settings: EndpointSettings) -> str | None:
    """The task that the model's card names, where it is another than the bundle's."""
    named = RepoCard(text or "").data.get("pipeline_tag")
    return None if named in (None, settings.task) else str(named)
