"""Errors of the data side that a user can correct: each message says where the problem is and what to do about it."""


class SpanmillError(Exception):
    """Base of all expected failures."""


class CorpusError(SpanmillError):
    """The input cannot be read as it is: a missing, unknown, damaged or unfitting file or column."""


class NotThereError(CorpusError):
    """What the command names as its input is not there, or is empty: the command is wrong, and no file."""


class DamagedError(CorpusError):
    """The bytes of a file are damaged or cut short, so that reading it again fails at the same place."""

    place: int
    """Decompressed bytes before the damage, where the file is a compressed stream; else 0."""

    def __init__(self, *args: object, place: int = 0) -> None:
        super().__init__(*args)
        self.place = place


class StorageError(SpanmillError):
    """A call to a store failed: missing rights, no space, the network, a package that is not installed."""

    permanent: bool
    """True where a retry cannot help: no rights, no space, no such file. Otherwise the store may answer later."""

    def __init__(self, *args: object, permanent: bool = False) -> None:
        super().__init__(*args)
        # Set on the instance, because Ray copies only instance attributes of an error.
        self.permanent = permanent


class MissingError(StorageError):
    """The file, folder or bucket does not exist."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, permanent=True)


class ManifestError(SpanmillError):
    """The output folder belongs to another job, or its manifest is damaged."""


class ConfigError(SpanmillError):
    """A config that cannot be used."""


class JobError(SpanmillError):
    """A job, a training run or a service that could not finish or start."""


class ServiceChangedError(JobError):
    """A running service is not what the job was planned with any more: it would refuse every other shard too."""
