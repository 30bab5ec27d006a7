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
    """As many online calls as may wait do so already."""


class ShuttingDown(Exception):
    """Online calls are not taken any more."""


class TooManyWindows(Exception):
    """Texts would be cut into more windows than are allowed."""

    def __init__(self, windows: int) -> None:
        super().__init__(f"{windows:,} windows")
        self.windows = windows


class DeadlinePassed(Exception):
    """An online call's time was up before its turn."""
