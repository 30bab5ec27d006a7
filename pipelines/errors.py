"""Every failure that a user can meet and mend; each message names the place and the mend."""


class SpanmillError(Exception):
    """Base of all expected failures."""


class CorpusError(SpanmillError):
    """The input cannot be read as it is: a missing, unknown, damaged or unfitting file or column."""


class StorageError(SpanmillError):
    """A store did not do what was asked: rights, space, network, a missing package."""


class MissingError(StorageError):
    """The file, folder or bucket that was asked for is not there."""


class ManifestError(SpanmillError):
    """The output folder belongs to another job, or its manifest is damaged."""


class ConfigError(SpanmillError):
    """A config that cannot be used."""


class JobError(SpanmillError):
    """A job that could not finish."""
