"""A server that is killed while a file comes in serves no half of it, and what it acknowledged is there afterwards."""

import hashlib
import http.client
import json
import socket
from pathlib import Path

from tests.support.server import Server, start_server

PASSWORD = "correct horse"
WHOLE = bytes(range(256)) * 8000


def call(server: Server, method: str, path: str, body: bytes, token: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10)
    connection.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def log_in(server: Server) -> str:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
        "device_id": "A",
    }
    status, answer = call(server, "POST", "/_matrix/client/v3/login", json.dumps(body).encode())
    assert status == 200, answer
    token: str = json.loads(answer)["access_token"]
    return token


def test_a_kill_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    try:
        server.register("alice", PASSWORD)
        token = log_in(server)
        status, answer = call(server, "POST", "/_matrix/media/v3/upload", WHOLE, token)
        assert status == 200, answer
        kept = json.loads(answer)["content_uri"].removeprefix("mxc://")
        _, answer = call(server, "POST", "/_matrix/media/v1/create", b"{}", token)
        promised = json.loads(answer)["content_uri"].removeprefix("mxc://")
        half = b"x" * len(WHOLE)
        upload = socket.create_connection(("127.0.0.1", server.ports["http"]))
        upload.sendall(
            f"PUT /_matrix/media/v3/upload/{promised} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            f"content-length: {len(half)}\r\n\r\n".encode()
            + half[: len(half) // 2]
        )
        coming = server.data / "media" / "coming"
        for _ in range(1000):
            if any(path.stat().st_size for path in coming.iterdir()):
                break
            call(server, "GET", "/_matrix/client/versions", b"")
        else:
            raise AssertionError("nothing was written")
    finally:
        server.process.kill()
        server.process.wait()
    upload.close()
    assert len(list(coming.iterdir())) == 1
    server = start_server(tmp_path)
    try:
        token = log_in(server)
        assert list(coming.iterdir()) == []
        start = "/_matrix/client/v1/media/download"
        assert call(server, "GET", f"{start}/{kept}", b"", token) == (200, WHOLE)
        status, answer = call(server, "GET", f"{start}/{promised}?timeout_ms=0", b"", token)
        assert (status, json.loads(answer)["errcode"]) == (504, "M_NOT_YET_UPLOADED")
        status, answer = call(server, "PUT", f"/_matrix/media/v3/upload/{promised}", half, token)
        assert status == 200, answer
        assert call(server, "GET", f"{start}/{promised}", b"", token) == (200, half)
        content = server.data / "media" / "content"
        names = {path.name for path in content.rglob("*") if path.is_file()}
        assert names == {hashlib.sha256(data).hexdigest() for data in (WHOLE, half)}
    finally:
        assert server.stop() == 0
