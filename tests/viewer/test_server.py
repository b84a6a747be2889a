"""The page over HTTP: requests, permissions, and ports that cannot be opened."""

import errno
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pytest

from crossnets.cameras.frames import DepthFrame
from crossnets.viewer import server as module
from crossnets.viewer.server import _PARTS, LiveServer
from crossnets.viewer.state import LiveState
from tests.viewer.stand_ins import CAMERA, hand, unpack


def serving(state: LiveState, host: str) -> Iterator[LiveServer]:
    with LiveServer(state, host, 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        state.close()
        made.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[LiveServer]:
    state = LiveState("frames", "one hand", 10.0)
    for number in range(3):
        frame = DepthFrame(np.full((24, 32), 400 + number, np.uint16), CAMERA.pinhole, number / 30, number)
        state.add(frame, (hand(CAMERA.pinhole),), {"find": 1.0}, 30.0)
    yield from serving(state, "127.0.0.1")


def ask(
    server: LiveServer, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = headers or ({} if data is None else {"Content-Type": "application/json"})
    connection.request("GET" if data is None else "POST", path, data, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_every_part_of_the_page_is_served_by_this_server(server: LiveServer) -> None:
    for path, (_, kind) in _PARTS.items():
        status, body, headers = ask(server, path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        links = re.findall(rb"https?://[^\s\"')]+", body.replace(b"http://www.w3.org/2000/svg", b""))
        assert not links
    static = {part.name for part in files("crossnets.viewer").joinpath("static").iterdir()}
    assert static == {name for name, _ in _PARTS.values()}


def test_frames(server: LiveServer) -> None:
    status, body, headers = ask(server, "/next?after=-1")
    head, image = unpack(body)
    assert (status, head["frame"]["number"], headers["Cache-Control"]) == (200, 2, "no-store")
    assert (np.frombuffer(image, "<u2") == 402 * 4).all()
    assert unpack(ask(server, "/frame?number=0")[1])[0]["frame"]["number"] == 0


def test_next_waits_for_something_new(server: LiveServer) -> None:
    version = server.state.version
    threading.Timer(0.1, lambda: server.state.update(message="unplugged")).start()
    head, _ = unpack(ask(server, f"/next?after={version}")[1])
    assert (head["message"], head["version"]) == ("unplugged", version + 1)


def test_commands(server: LiveServer) -> None:
    status, body, _ = ask(server, "/command", {"pause": True})
    assert (status, json.loads(body)) == (200, {"version": server.state.version})
    assert server.state.status.paused
    assert ask(server, "/command", {"record": True})[0] == 200
    assert server.state.wants_recording
    assert ask(server, "/command", {"pause": False})[0] == 200
    assert not server.state.status.paused


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/nothing", None, {}, 404),
        ("/../server.py", None, {}, 404),
        ("/next", None, {}, 404),
        ("/next?after=x", None, {}, 404),
        ("/frame?number=99999999999999999999", None, {}, 404),
        ("/command", {"pause": 1}, {}, 400),
        ("/command", {"stop": True}, {}, 400),
        ("/command", ["pause"], {}, 400),
        ("/command", {"pause": True, "record": True}, {}, 400),
        ("/command", b"{", {}, 400),
        ("/command", b"x" * 5000, {}, 400),
        ("/elsewhere", {"pause": True}, {}, 400),
        ("/command", {"pause": True}, {"Content-Type": "text/plain"}, 400),
        ("/command", b"[" * 900, {}, 400),
        ("/command", {"pause": True}, {"Content-Type": "application/json", "Content-Length": "9" * 5000}, 400),
        ("/", None, {"Host": "["}, 403),
        ("/", None, {"Origin": "http://["}, 403),
        ("/", None, {"Host": "evil.example"}, 403),
        ("/next?after=-1", None, {"Host": "evil.example:80"}, 403),
        ("/command", {"pause": True}, {"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
    ],
)
def test_rejected_requests(server: LiveServer, path: str, body: object, headers: dict[str, str], status: int) -> None:
    found, said, _ = ask(server, path, body, headers or None)
    assert found == status
    assert said
    assert not server.state.status.paused
    assert ask(server, "/")[0] == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", "Content-Length: {size}"),
        ("GET", "Content-Length: +0"),
        ("GET", "Transfer-Encoding: chunked"),
        ("POST", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
        ("POST", "Content-Length: 0\r\nContent-Length: {size}"),
    ],
)
def test_a_body_is_not_taken_for_a_second_request(server: LiveServer, method: str, headers: str) -> None:
    lines = ("POST /command HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 14", "")
    body = "\r\n".join((*lines, '{"pause":true}')).encode()
    first = f"{method} /live.css HTTP/1.1\r\nHost: localhost\r\n{headers.format(size=len(body))}\r\n\r\n"
    with socket.create_connection(server.server_address[:2], timeout=10) as one:
        one.sendall(first.encode() + body)
        answers = b""
        while data := one.recv(1 << 16):
            answers += data
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"400"]
    assert not server.state.status.paused


def test_several_requests_on_one_connection_are_answered(server: LiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    for headers in ({}, {"Content-Length": "0"}, {}):
        connection.request("GET", "/live.css", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (200, True)
    connection.close()


def test_ports_and_addresses_that_cannot_be_had(server: LiveServer) -> None:
    port = server.server_address[1]
    with pytest.raises(OSError, match=f"Port {port} of 127.0.0.1 is taken.*--port 0"):
        LiveServer(server.state, "127.0.0.1", port)
    with pytest.raises(ValueError, match="Found the port 70000"):
        LiveServer(server.state, "127.0.0.1", 70000)
    with pytest.raises(OSError, match=r"Cannot listen on 203\.0\.113\.1.*Give --host"):
        LiveServer(server.state, "203.0.113.1", 0)


@pytest.fixture
def public() -> Iterator[LiveServer]:
    yield from serving(LiveState("frames", None, 1.0), "0.0.0.0")


def test_a_port_that_needs_other_rights_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(LiveServer, "server_bind", refused)
    with pytest.raises(OSError, match=r"Port 80 may not be opened by this user\. Give --port with a"):
        LiveServer(LiveState("frames", None, 1.0), "127.0.0.1", 80)


def test_other_addresses_need_the_token(public: LiveServer, server: LiveServer) -> None:
    assert server.token is None
    assert public.token is not None
    wrong = {"Cookie": f"{public.cookie}={public.token[:-1]}"}
    for path in ("/", "/live.js", "/next?after=-1", "/?token=", "/?token=x", "/?token=%ff", "/frame?number=0"):
        assert ask(public, path)[0] == 403, path
        assert ask(public, path, headers=wrong)[0] == 403, path
    assert ask(public, "/", headers={"Cookie": ";;=\x01="})[0] == 403
    assert ask(public, "/command", {"record": True})[0] == 403
    assert not public.state.wants_recording
    status, _, headers = ask(public, public.url.split("/", 3)[3].join(("/", "")))
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly" in headers["Set-Cookie"]
    right = {"Cookie": headers["Set-Cookie"].split(";")[0]}
    assert ask(public, "/", headers=right)[0] == 200
    assert ask(public, "/command", {"record": True}, right | {"Content-Type": "application/json"})[0] == 200
    elsewhere = right | {"Content-Type": "application/json", "Origin": "http://evil.example"}
    assert ask(public, "/command", {"pause": True}, elsewhere)[0] == 403


def test_connections_are_limited_and_free_places_are_used_again(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 3)
    held = [socket.create_connection(server.server_address[:2], timeout=5) for _ in range(3)]
    deadline = time.monotonic() + 10
    while server._connections.total() < 3:
        assert time.monotonic() < deadline
    assert ask(server, "/")[0] == 503
    for one in held:
        one.close()
    while server._connections.total():
        assert time.monotonic() < deadline
    assert ask(server, "/")[0] == 200


def test_a_silent_connection_is_closed(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.1)
    with socket.create_connection(server.server_address[:2], timeout=10) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert silent.recv(100) == b""
