"""A server on this machine that speaks as much of the Hugging Face hub's protocol as a download asks for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve_hub(repository: str, folder: Path) -> Iterator[str]:
    """Serves a folder as a model repository of one commit, until the block ends; gives the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = unquote(self.path.partition("?")[0])
            if path.startswith(f"/api/models/{repository}"):
                found = _tree(folder) if "/tree/" in path else {"id": repository, "sha": _COMMIT}
                self._send(json.dumps(found).encode(), with_body, {"Content-Type": "application/json"})
                return
            file = folder / path.removeprefix(f"/{repository}/resolve/{_COMMIT}/")
            if not file.is_file():
                self.send_error(404)
                return
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()}"'
            self._send(body, with_body, {"ETag": tag, "X-Repo-Commit": _COMMIT})

        def _send(self, body: bytes, with_body: bool, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _tree(folder: Path) -> list[dict[str, object]]:
    """A file of a repository has its path, size and Git's number of its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "type": "file",
            "path": file.relative_to(folder).as_posix(),
            "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }
        for file in files
    ]
