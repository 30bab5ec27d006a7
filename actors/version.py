"""Which release of Spanmill this is, and which versions of packages are installed."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Its version; `unknown` where the code came without its package, as through Ray's py_modules or working_dir."""
    return installed("spanmill") or "unknown"


def installed(package: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
