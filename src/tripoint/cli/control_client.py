"""HTTP over the socket of a running server (runtime/control.py)."""

import http.client
import socket


class ControlClient:
    """Over a socket that is connected; it is not connected again."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._http = _OverSocket("localhost", timeout=timeout_s)
        self._http.sock = sock

    def ask(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError."""
        try:
            self._http.request(method, target, body or None, {"content-type": "application/json"})
            response = self._http.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        self._http.close()


class _OverSocket(http.client.HTTPConnection):
    def connect(self) -> None:
        raise ConnectionError("it closed the connection")
