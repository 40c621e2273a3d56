"""Clients that try to log in on one server by every way there is, over TLS.  spec: docs/mapping.md 18"""

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable

from tests.cross.world import PATIENCE_S, SERVER, World
from tests.net.client_certificates import client_context

Respond = Callable[[bytes], bytes]
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Talk:
    """A connection over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = ""

    @classmethod
    async def open(cls, at: World, listener: str, context: ssl.SSLContext | None = None) -> "Talk":
        port = at.app.ports[listener][0]
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context or client_context()))

    def send(self, text: str) -> None:
        self._writer.write(text.encode())

    async def until(self, pattern: str) -> re.Match[str]:
        """What fits; all before it is gone."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := re.search(pattern, self._heard)) is None:
                data = await self._reader.read(65536)
                assert data, f"it ended, and {pattern} was not in {self._heard!r}"
                self._heard += data.decode()
        self._heard = self._heard[found.end() :]
        return found

    def close(self) -> None:
        self._writer.close()


class Scram:
    """The client's side of SCRAM without channel binding. spec: RFC5802 3, RFC7677"""

    def __init__(self, name: str, password: str, hash_name: str) -> None:
        self._password = password
        self._hash = hash_name
        self._bare = f"n={name},r=clientnonce"
        self._proven = False

    def __call__(self, challenge: bytes) -> bytes:
        if not challenge:
            return b"n,," + self._bare.encode()
        if self._proven:
            return b""
        self._proven = True
        server_first = challenge.decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), salt, rounds)
        key = hmac.digest(salted, b"Client Key", self._hash)
        without = f"c={b64(b'n,,')},r={fields['r']}"
        told = f"{self._bare},{server_first},{without}".encode()
        signature = hmac.digest(hashlib.new(self._hash, key).digest(), told, self._hash)
        return f"{without},p={b64(bytes(a ^ b for a, b in zip(key, signature, strict=True)))}".encode()


def mechanisms(name: str, password: str, token: str) -> dict[str, Respond]:
    """What a client answers to each challenge, the first one empty, by each mechanism."""
    return {
        "SCRAM-SHA-256": Scram(name, password, "sha256"),
        "SCRAM-SHA-1": Scram(name, password, "sha1"),
        "PLAIN": lambda _: f"\0{name}\0{password}".encode(),
        "EXTERNAL": lambda _: b"",
        "OAUTHBEARER": lambda told: b"\x01" if told else f"n,,\x01auth=Bearer {token}\x01\x01".encode(),
    }


async def on_irc(
    at: World, mechanism: str, respond: Respond, context: ssl.SSLContext | None = None, nick: str = "visitor"
) -> tuple[Talk, str]:
    """A client after SASL, and the numeric that it got. spec: IRCv3 sasl-3.1"""
    talk = await Talk.open(at, "irc_tls", context)
    talk.send(f"CAP LS 302\r\nCAP REQ :sasl\r\nNICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n")
    await talk.until(r" ACK ")
    talk.send(f"AUTHENTICATE {mechanism}\r\n")
    while True:
        found = await talk.until(r"(?:AUTHENTICATE (\S+)| (90[0-8]) )")
        if found[2] and found[2] != "900":
            return talk, found[2]
        if found[1]:
            given = b"" if found[1] == "+" else base64.b64decode(found[1])
            talk.send(f"AUTHENTICATE {b64(respond(given)) or '+'}\r\n")


async def on_xmpp(
    at: World, mechanism: str, respond: Respond, context: ssl.SSLContext | None = None
) -> tuple[Talk, str]:
    """A client after SASL, and "success" or the condition of the failure. spec: RFC6120 6.4"""
    talk = await Talk.open(at, "xmpp_tls", context)
    open_stream(talk)
    await talk.until("</stream:features>")
    first = b64(respond(b"")) or "="
    talk.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")
    while True:
        found = await talk.until(r"<challenge [^>]*>([^<]*)</challenge>|<(success) |<failure [^>]*><([a-z-]+)")
        if found[1] is None:
            return talk, found[2] or found[3]
        talk.send(f"<response xmlns='{SASL}'>{b64(respond(base64.b64decode(found[1])))}</response>")


def open_stream(talk: Talk) -> None:
    talk.send(
        f"<stream:stream to='{SERVER}' version='1.0' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams'>"
    )
