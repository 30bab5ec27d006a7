"""The config keys of the service."""

from pydantic import Field

from actors.parameters import Settings


class LimitParameters(Settings):
    """What a single request may ask for. Beyond a limit it is refused with the limit's name, never cut."""

    max_request_bytes: int = Field(default=16 << 20, ge=1024)
    """Longest request body in bytes: 413 beyond."""

    max_inputs: int = Field(default=256, ge=1)
    """Most rows (question and passage pairs, or texts) in one request: 413 beyond."""

    max_text_bytes: int = Field(default=4 << 20, ge=1)
    """Longest question, passage or text in UTF-8 bytes: 413 beyond."""

    max_in_flight: int = Field(default=256, ge=1)
    """Requests that one gateway has at the model actors at once: 429 beyond."""

    timeout_ms: int = Field(default=60_000, ge=1)
    """Deadline of requests that name none by X-Request-Timeout-Ms, in milliseconds, and the longest that they may
    name: 504 where no pass was begun by then."""

    retry_after_seconds: int = Field(default=1, ge=1)
    """What a refusal with 429 or 503 tells the client to wait."""


class KeyParameters(Settings):
    """Who may ask. Without a file and a variable, anybody."""

    file: str | None = None
    """File with one API key a line; lines that begin with # are left out."""

    variable: str | None = None
    """Environment variable that holds API keys, with commas between them."""


class CorsParameters(Settings):
    """Which web pages may ask, by the browser's rules."""

    origins: tuple[str, ...] = ()
    """Origins, such as https://example.org; empty turns CORS off."""
