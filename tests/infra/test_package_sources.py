"""pip, with the settings that a build of the image gets, finds what pip of this machine does."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from infra.package_sources import as_file, for_build, settings_in


def _listed(**env: str) -> str:
    words = (sys.executable, "-m", "pip", "config", "list")
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, check=True)
    return done.stdout


def _pip_conf(folder: Path, text: str) -> str:
    (path := folder / "asked.conf").write_text(text)
    return str(path)


def _set(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_variables_go_before_files_and_a_build_installs_where_it_wants(tmp_path: Path) -> None:
    text = "[global]\nretries = 3\nproxy = http://a.example.org\ntarget = /srv\n[install]\nno-index = true\n"
    settings = settings_in(
        _listed(PIP_CONFIG_FILE=_pip_conf(tmp_path, text), PIP_PROXY="http://b.example.org", HOME=str(tmp_path))
    )
    assert settings["global"]["proxy"] == "http://b.example.org"
    assert settings["global"]["retries"] == "3"
    assert settings["install"] == {"no-index": "true"}
    assert "target" not in settings["global"]
    (copy := tmp_path / "copy.conf").write_text(as_file(settings))
    assert settings_in(_listed(PIP_CONFIG_FILE=str(copy), HOME=str(tmp_path))) == settings


def test_pip_of_a_build_installs_from_an_index_in_a_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "packages" / "simple" / "from-a-folder"
    files, wheels = tmp_path / "packages" / "files", tmp_path / "wheels"
    for folder in (project, files, wheels):
        folder.mkdir(parents=True)
    for where, name in ((files, "from_a_folder"), (wheels, "from_links")):
        _write_wheel(where, name, "1.0")
        _write_wheel(where, name, "2.0")
    links = [f'<a href="../../files/{path.name}">{path.name}</a>' for path in files.iterdir()]
    (project / "index.html").write_text("".join(links))
    (limits := tmp_path / "limits.txt").write_text("from-a-folder<2\n")
    (tmp_path / "ca.pem").touch()
    text = f"[global]\nindex-url = file://{project.parent}\nfind-links = {wheels}\nconstraint = {limits}\n"
    _set(monkeypatch, {"PIP_CONFIG_FILE": _pip_conf(tmp_path, text), "HOME": str(tmp_path)})
    for name in ("PIP_FIND_LINKS", "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)

    with for_build(tmp_path) as words:
        assert words[-2:] == ["--network", "host"], "the build has to reach the loopback interface"
        (settings,) = [Path(word.removeprefix("id=pip,src=")) for word in words if word.startswith("id=pip,")]
        installed = tmp_path / "installed"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(installed)]
        env = {"PIP_CONFIG_FILE": str(settings), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        subprocess.run([*pip, "from-a-folder", "from-links"], env=env, check=True)
        assert str(tmp_path) not in settings.read_text()
        (shown,) = [line for line in settings.read_text().splitlines() if line.startswith("find-links")]
        served = shown.split()[-1]
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{served}../../asked.conf")
    assert {path.name for path in installed.glob("*.dist-info")} == {
        "from_a_folder-1.0.dist-info",
        "from_links-2.0.dist-info",
    }
    with pytest.raises(OSError, match="refused"):
        urlopen(served)


def test_certificates_are_a_secret_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (certificates := tmp_path / "ca.pem").touch()
    text = f"[global]\nindex-url = https://packages.example.org/simple\ncert = {certificates}\n"
    _set(monkeypatch, {"PIP_CONFIG_FILE": _pip_conf(tmp_path, text), "HOME": str(tmp_path)})
    for name in ("PIP_FIND_LINKS", "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    with for_build(tmp_path) as words:
        assert f"id=ca,src={certificates}" in words
        said = (tmp_path / "pip.conf").read_text()
    assert "cert = /run/secrets/ca" in said
    assert "index-url = https://packages.example.org/simple" in said


def _write_wheel(folder: Path, name: str, version: str) -> None:
    """An empty package."""
    from zipfile import ZipFile

    info = f"{name}-{version}.dist-info"
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
