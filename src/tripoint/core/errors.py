"""The kinds of error that leave pure code.

PeerError: the other side broke its grammar or order. Every parser raises a subclass of it and nothing else,
whatever it is fed. A wrong caller is a bug and raises what Python raises. What a room refuses is not here:
rooms/refusals.py.
"""

from __future__ import annotations


class PeerError(ValueError):
    """What came in breaks the grammar or the order of its protocol. The text is for people, and quotes no
    message."""


class RemoteFailed(Exception):
    """Another server is slow, gone or wrong: back off, and tell whoever asked which server it is.

    `host` names the server, `reason` says what we saw, for operators. Raised by what talks to other servers,
    never by pure code.
    """

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        self.reason = reason
        super().__init__(f"{host}: {reason}")
