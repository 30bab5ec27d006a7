"""Errors of the model side, and what is shown of any error's message."""


class ModelError(Exception):
    """A model that cannot be used; the message names the folder or key and the mend."""


class NoModelError(ModelError):
    """What the command or config names as its model is not there: the name is wrong, and no model."""


class OutOfMemory(Exception):
    """The device had no room for a forward pass; a smaller batch may fit."""


class DeviceLost(Exception):
    """The device computes nothing any more; only a new process may help, on this device or on another."""

    def __init__(self, cause: str) -> None:
        """Takes the first line of what the runtime said."""
        super().__init__(f"the device is lost: {cause.removeprefix('the device is lost: ')}")


class NotANumber(ModelError):
    """The model computes NaN, which no request can help."""


class WindowTooLarge(ModelError):
    """Not even one window fits into the device's memory."""


class NoRoom(Exception):
    """A window that fitted before, or would have, has no room at the moment, since others have taken the memory; it may
    fit later.
    """


class QueueFull(Exception):
    """The queue of online requests is full, or a request would have to wait for too long."""


class TooManyValues(ModelError):
    """The rows of a shard have more values than a column of lists holds."""


class TooManyWindows(Exception):
    """Texts would be cut into more windows than are allowed."""

    def __init__(self, windows: int) -> None:
        super().__init__(f"{windows:,} windows")
        self.windows = windows


class DeadlinePassed(Exception):
    """The deadline of an online request passed before it had its results."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def last_line(error: BaseException, containing: str = "") -> str:
    """The last line of an error's message that contains a text, else its last line, else the name of its class.

    Ray puts tracebacks of its own before the message of the error that it passes on, so the cause comes last.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    matching = [line for line in lines if containing in line]
    return (matching or lines or [type(error).__name__])[-1]


def escape_surrogates(text: str) -> str:
    """The text with lone surrogates as backslash escapes: a message may quote one, and UTF-8 cannot encode it."""
    return text.encode("utf-8", "backslashreplace").decode()
