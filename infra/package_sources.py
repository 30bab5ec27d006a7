"""Where the build of the image finds Python's packages: where pip of this machine does, its own folders included.

Folders are served on the loopback interface while the build runs: what is bound into a build leaves its empty place in
the image, and docker cannot bind at all.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

_PLACES = ("index-url", "extra-index-url", "find-links", "constraint")
_WAYS = ("no-index", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""Settings that say how to get there. Others, such as where pip installs to, are not the build's."""
_CERTIFICATES = "/run/secrets/ca"
"""Where the build finds the file of `cert`, a secret as well."""

Settings = dict[str, dict[str, str]]
"""Settings of pip by section of its file."""


@contextmanager
def for_build(scratch: Path) -> Iterator[list[str]]:
    """Words for `docker build` that bring settings of pip, which hold as long as the block runs.

    Args:
        scratch: a folder for the settings, which may hold passwords.
    """
    settings = settings_in(_listed())
    with _Served(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            (file := scratch / "pip.conf").write_text(as_file(_with_urls(settings, server)), encoding="utf-8")
            words = ["--secret", f"id=pip,src={file}"]
            for certificates in {section["cert"] for section in settings.values() if "cert" in section}:
                words += ["--secret", f"id=ca,src={certificates}"]
            # Steps reach this machine's loopback interface only in its own network.
            yield words + (["--network", "host"] if server.places else [])
        finally:
            server.shutdown()


def settings_in(listed: str) -> Settings:
    """What is of use to a build of what `pip config list` prints; environment variables go before files."""
    sections: Settings = {}
    # Those of the environment begin with a colon: sorted this way they come last, and win.
    for line in sorted(listed.splitlines(), reverse=True):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if key in (*_PLACES, *_WAYS, "cert"):
            sections.setdefault("global" if section == ":env:" else section, {})[key] = ast.literal_eval(value)
    return sections


def as_file(sections: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a pip.conf."""
    lines = []
    for section, settings in sections.items():
        lines += [f"[{section}]", *(f"{key} = {' '.join(value.split())}" for key, value in settings.items())]
    return "".join(f"{line}\n" for line in lines)


class _Served(ThreadingHTTPServer):
    """Files and folders by number: /0/, /1/ and so on."""

    daemon_threads = True

    def __init__(self, *words: object) -> None:
        super().__init__(*words)  # type: ignore[arg-type]
        self.places: list[Path] = []

    def url_of(self, place: Path) -> str:
        """Where a file or folder is served from now on."""
        self.places.append(place)
        return f"http://127.0.0.1:{self.server_port}/{len(self.places) - 1}/"


class _Handler(SimpleHTTPRequestHandler):
    server: _Served

    def translate_path(self, path: str) -> str:
        number, _, rest = path.lstrip("/").partition("/")
        if not number.isdecimal() or int(number) >= len(self.server.places):
            return ""
        place = self.server.places[int(number)]
        if place.is_file():
            return str(place)
        self.directory = str(place)
        return super().translate_path(f"/{rest}")

    def log_message(self, format: str, *words: object) -> None:
        """Nowhere: pip says what it fetches."""


def _with_urls(sections: Settings, server: _Served) -> Settings:
    changed: Settings = {}
    for section, settings in sections.items():
        changed[section] = dict(settings)
        for key in set(settings) & set(_PLACES):
            changed[section][key] = " ".join(_url(word, server) for word in settings[key].split())
        if "cert" in settings:
            changed[section]["cert"] = _CERTIFICATES
    return changed


def _url(word: str, server: _Served) -> str:
    """The word, or the URL of the file or folder of this machine that it names."""
    place = Path(word.removeprefix("file://"))
    if not place.is_absolute() or not place.exists():
        return word
    if place.name == "simple":
        # An index, whose pages lead to files beside it.
        return f"{server.url_of(place.parent)}simple/"
    return server.url_of(place)


def _listed() -> str:
    words = (sys.executable, "-m", "pip", "config", "list")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
