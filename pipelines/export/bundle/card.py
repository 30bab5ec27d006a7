"""The card of a bundle: that of the model, with what it is as an endpoint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from actors.errors import first_line
from actors.export.endpoint_settings import EndpointSettings
from pipelines.errors import ConfigError
from pipelines.templates import render

_BEGIN, _END = "<!-- spanmill bundle -->", "<!-- end of spanmill bundle -->"
_SECTION = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", re.DOTALL)
_TAGS = ("endpoints-template", "spanmill")
"""The first is what the hub lists repositories with a handler by."""
_MEND = "mend it, or remove it to have a new card written"


@dataclass(frozen=True)
class SourceCard:
    """The card of the model that is bundled; empty where it has none."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the Hugging Face hub reads."""
    text: str = ""
    """Markdown, without what an earlier bundle said there."""

    @classmethod
    def parse(cls, card: str, name: str) -> "SourceCard":
        """Takes a card apart.

        Args:
            name: of the model, for the error.

        Raises:
            ConfigError: its metadata cannot be read.
        """
        found = REGEX_YAML_BLOCK.search(card)
        try:
            metadata = yaml.safe_load(found.group(2)) if found else {}
        except yaml.YAMLError as error:
            raise ConfigError(f"README.md of {name}: its metadata is no YAML: {_in_a_line(error)}; {_MEND}") from error
        if not isinstance(metadata, dict | None):
            raise ConfigError(f"README.md of {name}: its metadata are no keys with values; {_MEND}")
        if not isinstance((metadata or {}).get("tags"), list | str | None):
            raise ConfigError(f"README.md of {name}: its tags are no list; {_MEND}")
        return cls(metadata or {}, _SECTION.sub("", card[found.end() if found else 0 :]).strip())

    @property
    def task(self) -> str | None:
        """The task that it names."""
        task = self.metadata.get("pipeline_tag")
        return None if task is None else str(task)


def bundle_card(source: SourceCard, settings: EndpointSettings, modules: str) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads.

    What the model's card says is kept, text and metadata; `pipeline_tag` alone becomes the bundle's task, and tags are
    added. What the endpoint is and how to ask it comes behind the text.

    Args:
        modules: the folder of the modules.
    """
    tags = source.metadata.get("tags") or []
    given = [tags] if isinstance(tags, str) else list(tags)
    metadata = {
        "library_name": "transformers",
        **source.metadata,
        "pipeline_tag": settings.task,
        "tags": [*given, *(tag for tag in _TAGS if tag not in given)],
    }
    values = {
        "metadata": yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip(),
        "text": source.text or f"# {settings.source}",
        "begin": _BEGIN,
        "end": _END,
        "settings": settings,
        "modules": modules,
    }
    return render("pipelines.export", "bundle_card.md.j2", values)


def _in_a_line(error: yaml.YAMLError) -> str:
    """YAML's own message has several lines, with the place in the last but one."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    return first_line(error) if mark is None else f"{problem} in its line {mark.line + 1}"
