"""Which release of Spanmill this is."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Its version; `unknown` where the code came without its package, as through Ray's py_modules or working_dir."""
    try:
        return version("spanmill")
    except PackageNotFoundError:
        return "unknown"
