"""What can go wrong on the model side."""


class ModelError(Exception):
    """A model that cannot be used; the message names the folder or key and the mend."""


class OutOfMemory(Exception):
    """The device had no room for a forward pass; a smaller batch may fit."""


class WindowTooLarge(ModelError):
    """Not even one window fits into the device's memory."""


class QueueFull(Exception):
    """As many online calls as may wait do so already."""


class DeadlinePassed(Exception):
    """An online call's time was up before its turn."""
