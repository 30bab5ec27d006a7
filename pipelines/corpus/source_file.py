"""A file of the input, as listings and plans hold it."""

from dataclasses import astuple, dataclass
from typing import Any, Literal, Self

from pipelines.storage.url import Url

Compression = Literal["gzip", "zstd"]


@dataclass(frozen=True)
class SourceFile:
    """One file of the corpus, as its store listed it."""

    url: Url
    """Where it is: an absolute path, or a URL of its store."""

    name: str
    """Path relative to the input it came from, unique in the job: used in row ids and messages."""

    size: int
    """Bytes."""

    version: str
    """Content identity as the store knows it (ETag, hash, generation), else the time of change."""

    format: str
    """Its input format: a name that `corpus.format` takes."""

    compression: Compression | None
    """Of the whole file, where its format may be compressed so."""

    def to_json(self, with_secrets: bool = False) -> list[Any]:
        """The fields as a JSON array, in order. What is kept leaves out secrets; a worker, who opens it, needs them."""
        return [self.url.with_secrets if with_secrets else str(self.url), *astuple(self)[1:]]

    @classmethod
    def from_json(cls, fields: list[Any]) -> Self:
        """The inverse of `to_json`. Raises TypeError, ValueError for anything else."""
        url, *others = fields
        return cls(Url(url), *others)
