"""What the script that builds the image makes of the settings of pip and apt, and of what is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.build_image import (
    BuildError,
    Engine,
    debian_sources,
    engine_named,
    folders_in,
    pip_conf,
    pip_settings,
    revision,
)
from tests.infra.manifests import INFRA

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


def test_pip_of_the_build_has_the_settings_of_this_one(tmp_path: Path) -> None:
    index, wheels = tmp_path / "packages" / "simple", tmp_path / "wheels"
    for folder in (index, wheels):
        folder.mkdir(parents=True)
    asked = tmp_path / "pip.conf"
    asked.write_text(
        f"[global]\nfind-links = {tmp_path / 'other'}\nextra-index-url =\n    file://{index}\n    https://example.org/simple\n"
        "[install]\nno-clean = true\n"
    )
    env = {"PIP_CONFIG_FILE": str(asked), "PIP_FIND_LINKS": str(wheels), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    pip = (sys.executable, "-m", "pip", "config", "list")
    listed = subprocess.run(pip, env=env, capture_output=True, text=True, check=True).stdout
    settings = pip_settings(listed)
    assert settings["global"]["find-links"] == str(wheels), "variables go before files"

    (copy := tmp_path / "copy.conf").write_text(pip_conf(settings))
    again = subprocess.run(
        pip,
        env={"PIP_CONFIG_FILE": str(copy), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"global.extra-index-url='file://{index} https://example.org/simple'" in again.splitlines()
    assert "install.no-clean='true'" in again.splitlines()
    # An index's pages lead to files beside it; a folder that is not there cannot be bound.
    assert {wheels, index.parent} <= set(folders_in(settings))
    assert not {index, tmp_path / "other"} & set(folders_in(settings))


def test_the_base_is_of_debians_packages_alone() -> None:
    assert debian_sources(INDEX_TARGETS) == ["deb http://mirror.example.org/debian/ bookworm main"]
    assert debian_sources("") == []


def test_the_revision_is_that_of_the_folder_as_it_is() -> None:
    assert revision() == "" or len(revision()) == 40


def test_the_build_of_every_engine_keeps_the_health_check_and_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("docker", "buildah"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    settings, folder = tmp_path / "pip.conf", Path("/srv/wheels")
    Engine("docker").build("Dockerfile", "--tag", "t", settings=settings, folders=[folder])
    Engine("buildah", tmp_path / "s").build("Dockerfile", "--tag", "t", settings=settings, folders=[folder])
    docker, buildah = (tmp_path / "calls").read_text().splitlines()
    secret = f"--secret id=pip,src={settings} --file infra/Dockerfile --tag t ."
    assert docker == f"docker build {secret}"
    assert f"--root {tmp_path}/s/images" in buildah
    assert "--format docker" in buildah, "images of OCI's format have no health check"
    assert f"--volume {folder}:{folder}:ro" in buildah
    assert buildah.endswith(secret)


@pytest.mark.parametrize(
    ("name", "storage", "said"),
    [
        (None, None, "docker, podman, buildah: not installed here"),
        ("podman", None, "podman: not installed here"),
        ("docker", Path("images"), "--storage is a folder of buildah's; docker has none"),
    ],
)
def test_an_engine_that_is_not_there_is_named(
    name: str | None, storage: Path | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=said):
        engine_named(name, storage)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "docker"), "pip of this machine reads {wheels}, which docker's builds cannot"),
        (("--debian",), "mmdebstrap: not installed here; --debian wants a Debian machine with the package mmdebstrap"),
    ],
)
def test_what_stops_a_build_is_said_before_it_begins(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (wheels := tmp_path / "wheels").mkdir()
    for name in ("docker", "podman", "apt-get"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\nexit 70\n")
        program.chmod(0o755)
    env = {"PATH": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(wheels)}
    if "--debian" in words:
        words += ("--engine", "podman")
    done = subprocess.run(
        [sys.executable, str(INFRA / "build_image.py"), "--output", str(tmp_path / "out"), *words],
        env=env,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"error: {said.format(wheels=wheels)}")
    assert not (tmp_path / "out").exists()
