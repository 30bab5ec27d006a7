"""Builds the image with docker, podman or buildah, and writes what is in it beside it, as an SBOM.

    python3 -m infra.build_image --build-arg TORCH_INDEX=URL
    python3 -m infra.build_image --debian --storage build/image/storage    # no registry of images, no running daemon

Packages come from where pip of this machine finds them: its settings are given to the build as a secret. Only Python's
standard library is needed.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import package_sources

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("docker", "podman", "buildah")
BASE_OF_DEBIAN = "localhost/spanmill-base:debian"
"""Name of the base image that mmdebstrap makes."""
_DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates"
_WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
"""Files that Debian's own slim images leave out as well."""
_WITH = ("/usr/share/doc/*/copyright",)
"""Licences; the SBOM names them."""


class BuildError(Exception):
    """The image cannot be built here; the text says what is missing, and what to do."""


@dataclass(frozen=True)
class Engine:
    """A program that builds images, and where it keeps them."""

    program: str
    storage: Path | None = None
    """buildah's own folder of images, instead of the machine's."""

    def words(self, *words: str) -> list[str]:
        """A command line."""
        places = []
        if self.storage is not None:
            # Plain folders work on every file system, with more copies than overlays make.
            places = ["--storage-driver", "vfs", "--root", f"{self.storage}/images", "--runroot", f"{self.storage}/run"]
        return [self.program, *places, *words]

    def build(self, dockerfile: str, *words: str) -> None:
        """Runs a Dockerfile of infra/ on the repository."""
        own = list[str]()
        if self.program != "docker":
            # Docker's format: OCI's has no health checks.
            own += ["--ignorefile", f"infra/{dockerfile}.dockerignore", "--format", "docker"]
            # The image has a layer for each step, as docker makes them; of the other nothing but its last step is kept.
            own += ["--layers"] if dockerfile == "Dockerfile" else []
            if not (shutil.which("crun") or shutil.which("runc")):
                own += ["--isolation", "chroot"]
        run(self.words("build", *own, "--file", f"infra/{dockerfile}", *words, "."))

    def take_base(self, archive: Path) -> None:
        """Makes an image of one layer of a root folder's archive."""
        if self.program != "buildah":
            run(self.words("import", str(archive), BASE_OF_DEBIAN))
            return
        container = output_of(self.words("from", "scratch")).strip()
        run(self.words("add", container, str(archive), "/"))
        run(self.words("commit", "--rm", container, BASE_OF_DEBIAN))

    def size_of(self, tag: str) -> str:
        """An image's size, as the engine says it."""
        kind = ["images"] if self.program == "buildah" else ["image", "ls"]
        return output_of(self.words(*kind, "--format", "{{.Size}}", tag)).strip()


def run(words: Sequence[str]) -> None:
    """Runs a program in the repository's folder.

    Raises:
        BuildError: it fails.
    """
    print("+", shlex.join(words), flush=True)
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    if code != 0:
        raise BuildError(f"{words[0]} ended with exit code {code}; what it said is above")


def output_of(words: Sequence[str]) -> str:
    """What a program prints.

    Raises:
        BuildError: it fails.
    """
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{shlex.join(words)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def engine_named(name: str | None, storage: Path | None) -> Engine:
    """The engine that is wanted, or the first that is installed.

    Raises:
        BuildError: it is not installed, or keeps its images in no folder of one's own.
    """
    if storage is not None:
        if name not in (None, "buildah"):
            raise BuildError(f"--storage is a folder of buildah's; {name} has none")
        name = "buildah"
    found = [engine for engine in ((name,) if name else ENGINES) if shutil.which(engine)]
    if not found:
        raise BuildError(f"{name or ', '.join(ENGINES)}: not installed here; Debian has podman and buildah as packages")
    return Engine(found[0], None if storage is None else storage.resolve())


def debian_sources(listed: str) -> list[str]:
    """Lines of a sources.list: Debian's own of what `apt-get indextargets` lists, not those that others offer."""
    sources = []
    for paragraph in listed.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Created-By") == "Packages" and fields.get("Origin") == "Debian":
            sources.append(f"deb {fields['Repo-URI']} {fields['Release']} {fields['Component']}")
    return list(dict.fromkeys(sources))


def make_debian_root(archive: Path) -> None:
    """A small Debian with Python, from where this machine's apt gets its packages.

    Raises:
        BuildError: it has no mmdebstrap or no list of Debian's packages.
    """
    for program in ("apt-get", "mmdebstrap"):
        if not shutil.which(program):
            raise BuildError(
                f"{program}: not installed here; --debian wants a Debian machine with the package mmdebstrap"
            )
    sources = debian_sources(output_of(["apt-get", "indextargets"]))
    if not sources:
        raise BuildError("apt-get knows no packages of Debian: run `apt-get update` first")
    files = [f"--dpkgopt=path-exclude={path}" for path in _WITHOUT] + [
        f"--dpkgopt=path-include={path}" for path in _WITH
    ]
    # Without a suite, mmdebstrap takes it from the sources.
    run(["mmdebstrap", "--variant=minbase", f"--include={_DEBIAN_PACKAGES}", *files, "", str(archive), *sources])


def own_version() -> str:
    """Spanmill's version."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return version


def revision() -> str:
    """The commit that the folder holds; empty where it has others' changes as well, or is no repository."""
    try:
        return "" if output_of(["git", "status", "--porcelain"]) else output_of(["git", "rev-parse", "HEAD"]).strip()
    except (BuildError, FileNotFoundError):
        return ""


def build_image(options: argparse.Namespace, engine: Engine, scratch: Path) -> None:
    """Builds the image and its SBOM.

    Raises:
        BuildError: a program fails.
    """
    arguments = {"VERSION": own_version(), "REVISION": revision()}
    if options.debian:
        make_debian_root(archive := scratch / "base.tar")
        engine.take_base(archive)
        archive.unlink()
        arguments["BASE"] = BASE_OF_DEBIAN
    given = [*(f"{name}={value}" for name, value in arguments.items()), *options.build_arg]
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    with package_sources.for_build(scratch) as sources:
        engine.build("Dockerfile", *sources, *_arguments(given), "--tag", options.tag)
        to = ("--output", f"type=local,dest={output.resolve()}")
        engine.build("Dockerfile.sbom", *sources, *_arguments([f"IMAGE={options.tag}"]), *to)
    print(f"{options.tag}: {engine.size_of(options.tag)}; made of:")
    for path in sorted(output.glob("*.cdx.json")):
        print(f"  {len(json.loads(path.read_text(encoding='utf-8'))['components'])} packages in {path}")


def _arguments(given: Sequence[str]) -> list[str]:
    return [word for argument in given for word in ("--build-arg", argument)]


def main() -> None:
    """What the command does; exit code 1 where the image cannot be built."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tag", default=f"spanmill:{own_version()}", help="the image's name")
    parser.add_argument("--engine", choices=ENGINES, help="by itself the first of these that is installed")
    parser.add_argument("--debian", action="store_true", help="make the base with mmdebstrap from this machine's apt")
    parser.add_argument(
        "--storage", type=Path, help="keep buildah's images in this folder; removing it removes all of them"
    )
    parser.add_argument("--build-arg", action="append", default=[], help="NAME=VALUE, an ARG of infra/Dockerfile")
    parser.add_argument("--output", default="build/image", help="the folder of the SBOM")
    options = parser.parse_args()
    try:
        engine = engine_named(options.engine, options.storage)
        with tempfile.TemporaryDirectory(prefix="spanmill-image-") as scratch:
            build_image(options, engine, Path(scratch))
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
