"""How the script that builds the image calls docker and buildah, and what it says where it cannot build."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from infra.build_image import BuildError, Engine, debian_sources, engine_named, own_version, revision
from tests.infra.manifests import ROOT

INDEX_TARGETS = """\
Created-By: Packages
Origin: Debian
Repo-URI: http://mirror.example.org/debian/
Release: bookworm
Component: main

Created-By: Packages
Origin: Debian
Repo-URI: http://mirror.example.org/debian/
Release: bookworm
Component: main
Architecture: i386

Created-By: Translations
Origin: Debian
Repo-URI: http://mirror.example.org/debian/
Release: bookworm
Component: contrib

Created-By: Packages
Origin: Somebody
Repo-URI: http://somebody.example.org/apt/
Release: bookworm
Component: main
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is all there is; what they are called with is in its file `calls`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _install(folder: Path, name: str) -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> {folder}/calls\n')
    program.chmod(0o755)


def test_the_base_is_of_debians_packages_alone() -> None:
    assert debian_sources(INDEX_TARGETS) == ["deb http://mirror.example.org/debian/ bookworm main"]
    assert debian_sources("") == []


def test_the_image_has_our_version_and_names_a_commit_only_if_it_is_that() -> None:
    assert own_version() == version("spanmill")
    words = ["git", "-C", str(ROOT), "status", "--porcelain"]
    done = subprocess.run(words, capture_output=True, text=True)
    clean = done.returncode == 0 and not done.stdout
    assert len(revision()) == (40 if clean else 0)


def test_every_engine_keeps_the_health_check_and_sends_what_the_dockerfile_needs(programs: Path) -> None:
    for name in ("docker", "buildah"):
        _install(programs, name)
    Engine("docker").build("Dockerfile", "--tag", "t")
    Engine("buildah", Path("/images")).build("Dockerfile", "--tag", "t")
    docker, buildah = (programs / "calls").read_text().splitlines()
    assert docker == "docker build --file infra/Dockerfile --tag t ."
    assert buildah.startswith("buildah --storage-driver vfs --root /images/images --runroot /images/run build ")
    assert "--format docker" in buildah, "images of OCI's format have no health check"
    assert "--ignorefile infra/Dockerfile.dockerignore" in buildah
    assert "--isolation chroot" in buildah, "there is no runc"
    assert buildah.endswith("--file infra/Dockerfile --tag t .")


def test_the_first_engine_that_is_installed_is_taken_unless_one_is_named(programs: Path) -> None:
    for name in ("buildah", "podman"):
        _install(programs, name)
    assert engine_named(None, None).program == "podman"
    assert engine_named("buildah", None).program == "buildah"
    assert engine_named(None, Path("/images")) == Engine("buildah", Path("/images"))


@pytest.mark.parametrize(
    ("name", "storage", "said"),
    [
        (None, None, "docker, podman, buildah: not installed here"),
        ("podman", None, "podman: not installed here"),
        ("docker", Path("images"), "--storage is a folder of buildah's; docker has none"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_an_engine_that_is_not_there_is_named(name: str | None, storage: Path | None, said: str) -> None:
    with pytest.raises(BuildError, match=said):
        engine_named(name, storage)


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ((), "apt-get: not installed here; --debian wants a Debian machine with the package mmdebstrap"),
        (("apt-get",), "mmdebstrap: not installed here; --debian wants a Debian machine with the package mmdebstrap"),
        (("apt-get", "mmdebstrap"), "apt-get knows no packages of Debian: run `apt-get update` first"),
    ],
)
def test_what_stops_a_build_is_said_in_one_line(
    installed: tuple[str, ...], said: str, programs: Path, tmp_path: Path
) -> None:
    for name in ("podman", *installed):
        _install(programs, name)
    words = ["-m", "infra.build_image", "--debian", "--engine", "podman", "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"error: {said}\n")
    assert not (tmp_path / "out").exists()
