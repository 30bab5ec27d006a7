"""What can go wrong on the model side."""


class ModelError(Exception):
    """A model that cannot be used; the message names the folder or key and the mend."""


class OutOfMemory(Exception):
    """The device had no room for a forward pass; a smaller batch may fit."""


class NotANumber(ModelError):
    """The model computes NaN, which no request can help."""


class WindowTooLarge(ModelError):
    """Not even one window fits into the device's memory."""


class QueueFull(Exception):
    """The queue of online requests is full, or a request would have to wait for too long."""


class TooManyWindows(Exception):
    """Texts would be cut into more windows than are allowed."""

    def __init__(self, windows: int) -> None:
        super().__init__(f"{windows:,} windows")
        self.windows = windows


class DeadlinePassed(Exception):
    """The deadline of an online request passed before it had its results."""
