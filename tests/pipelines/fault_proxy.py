"""A proxy in front of a test's S3 server that fails the way networks and stores do, as a test tells it to."""

import base64
import random
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.pipelines.s3_server import S3Server


class Fault(Enum):
    """What happens to a request."""

    SLOW_DOWN = auto()
    """503 with S3's body for throttling; the server never sees the request."""

    SERVER_ERROR = auto()
    """500 with S3's body; the server never sees the request."""

    SLOW = auto()
    """The answer's body comes in two halves with a pause between them."""

    DROPPED = auto()
    """The connection ends without an answer; the server never sees the request."""

    LOST_ANSWER = auto()
    """The server does what it is asked to, and the connection ends without an answer."""

    HALF_SENT = auto()
    """The answer ends in the middle of its body, or before it when there is none."""

    CUT_UPLOAD = auto()
    """The server sees half of the request's body, and the connections on both sides end."""

    DAMAGED_UPLOAD = auto()
    """A byte is another on arrival. S3 finds out by the checksum that came along; rclone does not look at it."""

    SILENT = auto()
    """No answer, for as long as the client cares to wait."""

    DEAF = auto()
    """The request's body is never taken."""

    STALLED = auto()
    """Half of the answer's body, and nothing more for as long as the client cares to wait."""


@dataclass
class Schedule:
    """Which requests get which fault; the first schedule that has one for a request wins."""

    fault: Fault
    methods: frozenset[str]
    within: str
    """Part of the request's path and query."""

    times: int | None
    """How often; None: for good."""

    share: float
    """How many of the requests that fit, by chance."""

    def takes(self, method: str, path: str, chance: random.Random) -> bool:
        """Whether it has a fault for this request; then it has one less."""
        if method not in self.methods or self.within not in path or self.times == 0 or chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    fault: Fault | None


@dataclass
class FaultProxy:
    """A running proxy: `server` is reached through `proxied`."""

    server: S3Server
    proxied: S3Server
    seen: list[Seen] = field(default_factory=list)
    """Every request since the last `forget`."""

    _schedules: list[Schedule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))
    _ended: threading.Event = field(default_factory=threading.Event)

    def inject(
        self,
        fault: Fault,
        methods: str = "GET HEAD PUT",
        within: str = "",
        times: int | None = None,
        share: float = 1.0,
    ) -> None:
        """Adds a schedule: the next `times` fitting requests, or all of them, or a random share, get the fault."""
        with self._lock:
            self._schedules.append(Schedule(fault, frozenset(methods.split()), within, times, share))

    def forget(self) -> None:
        """Drops all schedules and what was seen."""
        with self._lock:
            self._schedules.clear()
            self.seen.clear()

    @property
    def faults(self) -> int:
        """Number of faults since the last `forget`."""
        return sum(seen.fault is not None for seen in self.seen)

    def meet(self, method: str, path: str) -> Fault | None:
        """Notes a request and says what happens to it."""
        with self._lock:
            takers = (schedule for schedule in self._schedules if schedule.takes(method, path, self._chance))
            taker = next(takers, None)
            fault = taker.fault if taker else None
            self.seen.append(Seen(method, path, fault))
            return fault

    def hold(self) -> None:
        """Waits until the proxy ends."""
        self._ended.wait()

    def end(self) -> None:
        """Lets go of every request that is held."""
        self._ended.set()


_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'
_XML = [("Content-Type", "application/xml")]
_REFUSALS = {
    Fault.SLOW_DOWN: (503, _ERROR.format("SlowDown", "Please reduce your request rate.")),
    Fault.SERVER_ERROR: (500, _ERROR.format("InternalError", "We encountered an internal error. Please try again.")),
}
_HANGS_UP = frozenset(Fault) - frozenset(_REFUSALS) - {Fault.DAMAGED_UPLOAD, Fault.SLOW}
_PAUSE_SECONDS = 0.2


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def handle_any(self) -> None:
        proxy = self.server.proxy
        fault = proxy.meet(self.command, self.path)
        if fault is Fault.DEAF:
            proxy.hold()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in _REFUSALS:
            status, text = _REFUSALS[fault]
            self._answer(status, _XML, text.encode())
        elif fault is Fault.SILENT:
            proxy.hold()
        elif fault is Fault.DAMAGED_UPLOAD:
            self._take_damaged(bytes([body[0] ^ 1]) + body[1:])
        elif fault is not Fault.DROPPED:
            self._pass_on(body, fault)
        if fault in _HANGS_UP:
            self._drop()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def _take_damaged(self, body: bytes) -> None:
        arrived = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        if self.headers.get("x-amz-checksum-crc32", arrived) == arrived:
            self._pass_on(body, None)
        else:
            text = _ERROR.format("BadDigest", "The CRC32 you specified did not match the calculated checksum.")
            self._answer(400, _XML, text.encode())

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        host, port = self.server.proxy.server.endpoint.removeprefix("http://").split(":")
        upstream = HTTPConnection(host, int(port))
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            # Host as the client sent it: its signature covers it.
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            if fault is Fault.CUT_UPLOAD:
                upstream.endheaders(body[: len(body) // 2])
                return
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if fault is Fault.LOST_ANSWER:
            return
        kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("content-length", "transfer-encoding")]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if fault in (Fault.HALF_SENT, Fault.STALLED) and not content:
            return
        half = len(content) // 2 if fault else len(content)
        self._answer(answer.status, kept, content[:half], length)
        if fault is Fault.STALLED:
            self.server.proxy.hold()
        elif fault is Fault.SLOW:
            time.sleep(_PAUSE_SECONDS)
            self.wfile.write(content[half:])

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are part of the game."""


@contextmanager
def proxy_to(server: S3Server) -> Iterator[FaultProxy]:
    """A proxy to `server` without faults, until the block ends."""
    with _Server(("127.0.0.1", 0), _Handler) as listener:
        listener.proxy = FaultProxy(server, replace(server, endpoint=f"http://127.0.0.1:{listener.server_port}"))
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listener.proxy
        finally:
            listener.proxy.end()
            listener.shutdown()
            thread.join()
