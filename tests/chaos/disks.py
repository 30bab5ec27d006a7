"""A disk that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGE = 4096


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A filesystem in memory with room for the output of some jobs.

    Raises:
        PermissionError: whoever runs this may not mount.
    """
    folder.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=32m", "chaos", str(folder))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(f"no small disk ({done.stderr.strip()}): run it as root, or under `unshare -Urm`")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The filesystem of the folder has no room at all until the block ends."""
    filler = folder / "filler"
    try:
        with open(filler, "wb", buffering=0) as file:
            while file.write(bytes(_PAGE)):
                pass
    except OSError:
        yield
    finally:
        filler.unlink()
