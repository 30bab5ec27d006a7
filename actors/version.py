"""Which release of Spanmill this is, which versions of packages are installed, and how two machines differ in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

RESULT_PACKAGES = ("torch", "transformers", "tokenizers", "pyarrow")
"""Distributions whose version may change a row of the output, or what one machine can read of another's."""


@dataclass(frozen=True)
class VersionDifference:
    """A package that a machine has in another version than it should."""

    package: str
    found: str | None
    """None where the machine has none."""
    wanted: str

    @property
    def mend(self) -> str:
        """The command that mends it there."""
        return f"pip install '{self.package}=={public_version(self.wanted)}'"

    def __str__(self) -> str:
        if self.found is None:
            return f"no {self.package}, wanted is {self.wanted}"
        return f"{self.package} {self.found} in place of {self.wanted}"


def release() -> str:
    """Its version; `unknown` where the code came without its package, as through Ray's py_modules or working_dir."""
    return installed("spanmill") or "unknown"


def installed(package: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed here."""
    return {package: found for package in packages if (found := installed(package)) is not None}


def version_differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[VersionDifference]:
    """What differs; builds of one version for different devices (2.11.0+cpu, 2.11.0+cu128) do not."""
    return [
        VersionDifference(package, found.get(package), one)
        for package, one in wanted.items()
        if package not in found or public_version(found[package]) != public_version(one)
    ]


def public_version(text: str) -> str:
    """A version without its local part, which names a build."""
    return text.partition("+")[0]
