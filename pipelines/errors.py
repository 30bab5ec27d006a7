"""Every failure that a user can meet and mend; each message names the place and the mend."""


class SpanmillError(Exception):
    """Base of all expected failures."""


class CorpusError(SpanmillError):
    """The input cannot be read as it is: a missing, unknown, damaged or unfitting file or column."""


class DamagedError(CorpusError):
    """The bytes of a file are damaged or cut short: however often it is read, it ends there."""

    place: int
    """Bytes of its text that could be read, where it is a compressed stream."""

    def __init__(self, *args: object, place: int = 0) -> None:
        super().__init__(*args)
        self.place = place


class StorageError(SpanmillError):
    """A store did not do what was asked: rights, space, network, a missing package."""

    permanent: bool
    """Asking again cannot help: no rights, no space, nothing there. Otherwise the store may answer later."""

    def __init__(self, *args: object, permanent: bool = False) -> None:
        super().__init__(*args)
        # Of the instance, because Ray's copy of an error looks its attributes up there.
        self.permanent = permanent


class MissingError(StorageError):
    """The file, folder or bucket that was asked for is not there."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, permanent=True)


class ManifestError(SpanmillError):
    """The output folder belongs to another job, or its manifest is damaged."""


class ConfigError(SpanmillError):
    """A config that cannot be used."""


class JobError(SpanmillError):
    """A job that could not finish."""
