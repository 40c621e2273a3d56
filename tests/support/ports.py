"""Ports for servers that have to be told theirs before they start."""

import itertools
import os
import socket

# Below those that the system gives to whoever connects, or asks for any: nobody takes one of these between the look
# and the start of the server.
_FIRST, _LAST = 20_000, 32_000
_next = itertools.count(os.getpid() * 37 % (_LAST - _FIRST))


def free_port() -> int:
    """One where nobody listens by TCP or UDP; each is given once."""
    for _ in range(_LAST - _FIRST):
        port = _FIRST + next(_next) % (_LAST - _FIRST)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
