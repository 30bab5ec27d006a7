"""Paths and URLs that print without their passwords and signatures."""

import re
from typing import Any, final

# Chained addresses (`simplecache::https://...`) are several in one.
_CHAIN = re.compile(r"::(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_PARTS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>.*)", re.IGNORECASE | re.DOTALL)
# In these the word before the @ names a container, and is no user.
_CONTAINER_SCHEMES = frozenset(("abfs", "abfss", "wasb", "wasbs"))
# A key of an object store may hold a question mark, so what follows one goes only where it signs.
_SIGNS = re.compile(
    r"x-amz-|x-goog-|\b(?:sig|signature|awsaccesskeyid|googleaccessid|token|access_token)=", re.IGNORECASE
)
_URL_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^\s'\"<>]+", re.IGNORECASE)
_QUERY_IN_TEXT = re.compile(r"\?[^\s'\"<>]+")


@final
class Url:
    """A path or URL that cannot be changed, and whose text comes without user, password and signature.

    `str`, `repr` and format give the text that may be shown and stored; `with_secrets` is what opens the file. Equal
    are two that open the same. It is no dataclass and no str, because a JSON encoder would write these out as they are.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    @property
    def with_secrets(self) -> str:
        """The whole text, for opening it: never for a message, a log or a file."""
        return self._text

    def __str__(self) -> str:
        return "::".join(_redacted(part) for part in _CHAIN.split(self._text))

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Url cannot be changed: {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Url, (self._text,))


def redact(text: str) -> str:
    """The text, each URL and signed path in it as a `Url` prints it: for the words of other packages' errors."""
    shown = _URL_IN_TEXT.sub(lambda found: str(Url(found[0])), text)
    return _QUERY_IN_TEXT.sub(lambda found: _unsigned(found[0]), shown)


def _redacted(part: str) -> str:
    found = _PARTS.fullmatch(part)
    if found is None:
        if part.startswith("/"):
            return part
        # `bucket/key?X-Amz-Signature=...`, as a store's package names it.
        return _unsigned(part)
    scheme, host, path = found["scheme"], found["host"], found["path"]
    user, _, bare_host = host.rpartition("@")
    if scheme.lower() in _CONTAINER_SCHEMES and ":" not in user:
        bare_host = host
    shown = path.partition("?")[0] if scheme.lower() in ("http", "https") else _unsigned(path)
    return f"{scheme}://{bare_host}{shown}"


def _unsigned(path: str) -> str:
    before, _, query = path.partition("?")
    return before if _SIGNS.search(query) else path
