"""Server of the page and its data, over plain HTTP, for any number of viewers.

GET  /                    the page. Its parts have the same folder
GET  /next?after=VERSION  the last frame, as soon as the state is newer than this version, or after some seconds
GET  /frame?number=N      one of the kept frames
POST /command             {"pause": true} or {"record": true} as JSON. The answer contains the next version

Each viewer requests the next frame after drawing the last one. A slow viewer therefore skips frames and does not delay
others.

On an address that other machines reach, the page needs a token. The printed address contains it, and the browser stores
it as a cookie.
"""

import errno
import ipaddress
import json
import secrets
import sys
import threading
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from crossnets.json_text import parse_json
from crossnets.viewer.messages import pack
from crossnets.viewer.state import LiveState

_PARTS = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{n}.js": (f"{n}.js", "text/javascript; charset=utf-8") for n in ("live", "picture", "cloud", "panel")},
}
_WAIT_S = 5.0
_IDLE_S = 20.0
"""An idle connection is closed after this time."""
MOST_CONNECTIONS = 128
MOST_OF_ONE = 64
"""Largest number of connections of all viewers, and of one address. A page takes up to six."""
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
_MOST_COMMAND = 1000
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"


class LiveServer(ThreadingHTTPServer):
    """Binds its port at once. `serve_forever` in a thread serves viewers, and `shutdown` ends it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, state: LiveState, host: str, port: int) -> None:
        """Bind the port.

        Raises:
            OSError: the port is taken or needs other rights, or the address does not belong to this machine.
            ValueError: the port is out of range.
        """
        self.state = state
        self.local = _is_loopback(host)
        self.token = None if self.local else secrets.token_urlsafe(16)
        """None if only this machine reaches the page."""
        self._connections: Counter[str] = Counter()
        self._counting = threading.Lock()
        if not 0 <= port <= 65535:
            raise ValueError(f"Found the port {port}, expected 1 to 65535, or 0 for any free one.")
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise OSError(_why(error, host, port)) from error

    @property
    def url(self) -> str:
        """Address of the page, with the token if one is needed."""
        host, port = self.server_address[:2]
        token = "" if self.token is None else f"?token={self.token}"
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/{token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie that keeps the token. Browsers share cookies between ports, so it contains the port."""
        return f"crossnets-{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a separate thread, unless there are too many connections."""
        address = str(client_address[0])
        with self._counting:
            full = self._connections.total() >= MOST_CONNECTIONS or self._connections[address] >= MOST_OF_ONE
            if not full:
                self._connections[address] += 1
        if not full:
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(1.0)
            request.sendall(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._counting:
                self._connections -= Counter([str(client_address[0])])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error unless a viewer has closed its connection."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a viewer."""

    server: LiveServer  # pyright: ignore[reportIncompatibleVariableOverride] - only LiveServer creates handlers
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer with a part of the page, or with a frame."""
        if not (self._is_single() and self._is_meant()):
            return
        url = _split(self.path)
        if self.server.token is not None and url.path == "/" and "token" in parse_qs(url.query):
            # The browser keeps the token as a cookie, and the address bar shows none.
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", "/")
            cookie = f"{self.server.cookie}={self.server.token}; HttpOnly; SameSite=Lax; Path=/"
            self.send_header("Set-Cookie", cookie)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif url.path in _PARTS:
            name, kind = _PARTS[url.path]
            self._answer(files("crossnets.viewer").joinpath("static", name).read_bytes(), kind)
        elif url.path == "/next" and (after := _number(url.query, "after")) is not None:
            self.server.state.wait(after, _WAIT_S)
            self._frame(None)
        elif url.path == "/frame" and (number := _number(url.query, "number")) is not None:
            self._frame(number)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")

    def do_POST(self) -> None:
        """Carry out a command."""
        if not (self._is_single() and self._is_meant()):
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isdecimal() and len(length) < 16 and int(length) <= _MOST_COMMAND):
            return self._refuse(HTTPStatus.BAD_REQUEST, "expected a short command")
        body = self.rfile.read(int(length))
        if _split(self.path).path != "/command" or self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.BAD_REQUEST, "expected JSON for /command")
        try:
            command = parse_json(body)
            ((name, value),) = command.items()
        except (ValueError, AttributeError):
            return self._refuse(HTTPStatus.BAD_REQUEST, 'expected {"pause": true} or {"record": true}')
        if name not in ("pause", "record") or not isinstance(value, bool):
            return self._refuse(HTTPStatus.BAD_REQUEST, f"no command {name!r} with {value!r}")
        if name == "pause":
            self.server.state.update(paused=value)
        else:
            self.server.state.want_recording(value)
        return self._answer(json.dumps({"version": self.server.state.version}).encode(), "application/json")

    def _frame(self, number: int | None) -> None:
        if self.server.state.closed:  # viewers must stop asking
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "crossnets live has ended")
        return self._answer(pack(self.server.state, number), "application/octet-stream")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because thirty lines per second would hide other messages."""

    def _is_single(self) -> bool:
        """Whether it is known where the request ends. A body that is not read would be taken for the next request."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) > 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "expected one Content-Length, and no Transfer-Encoding")
            return False
        if self.command == "GET" and lengths not in ([], ["0"]):
            self._refuse(HTTPStatus.BAD_REQUEST, "expected no body of a GET")
            return False
        return True

    def _is_meant(self) -> bool:
        """Whether the request comes from this page, and neither names nor comes from another page of the browser."""
        host = self.headers.get("Host", "")
        if self.server.local and not _is_loopback(_split(f"//{host}").hostname or ""):
            self._refuse(HTTPStatus.FORBIDDEN, f"this page is at {self.server.url}, not at {host!r}")
            return False
        origin = self.headers.get("Origin")
        if origin is not None and _split(origin).netloc != host:
            self._refuse(HTTPStatus.FORBIDDEN, "another page asks")
            return False
        if self.server.token is not None and not self._knows(self.server.token):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that crossnets live printed, with its token")
            return False
        return True

    def _knows(self, token: str) -> bool:
        """Whether the request has the token, in its address or as a cookie."""
        given = parse_qs(_split(self.path).query).get("token", [""])[0]
        if not given:
            try:
                morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
            except CookieError:
                morsel = None
            given = "" if morsel is None else morsel.value
        return secrets.compare_digest(given.encode(errors="replace"), token.encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._answer(f"{why}\n".encode(), "text/plain; charset=utf-8", status)

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _split(url: str) -> SplitResult:
    """Split an address. An invalid address, such as `http://[`, has empty parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _number(query: str, name: str) -> int | None:
    """Read a whole number of a query, such as after=12."""
    text = parse_qs(query).get(name, [""])[0]
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 16 else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken, perhaps by another `crossnets live`. Give --port 0 for any free one."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user. Give --port with a number above 1023, or 0."
    return (
        f"Cannot listen on {host}, port {port}: {error.strerror or error}. Give --host with an address of this machine."
    )
