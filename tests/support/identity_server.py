"""A small identity server over HTTPS, with keys and signatures of its own, as the specification has it.

spec: Matrix identity-service-api: hash_details, lookup, store-invite, 3pid/bind, 3pid/unbind, pubkey/isvalid,
sign-ed25519. What it would write to people by e-mail is in `letters`; what it tells homeservers is `onbind()`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.net.https import Certificate
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, encode_base64, sign_json, verify
from tripoint.matrix.federation.auth import parse_x_matrix

TOKEN = "their-token"
PEPPER = "matrixrocks"
V2 = "/_matrix/identity/v2"


class No(Exception):
    def __init__(self, status: int, errcode: str, error: str = "no") -> None:
        self.status = status
        self.body = {"errcode": errcode, "error": error}
        super().__init__(errcode)


@dataclass
class IdentityServer:
    """`bound`: (medium, address) -> user id. `sessions`: sid -> (secret, medium, address), as somebody has shown them.
    `homeserver_keys`: whose unbinding is believed. `revoked`: public keys that count no more."""

    host: str
    name: str = ""
    key: SigningKey = field(default_factory=lambda: SigningKey("ed25519:0", b"\x09" * 32))
    bound: dict[tuple[str, str], str] = field(default_factory=dict)
    sessions: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    letters: list[dict[str, Any]] = field(default_factory=list)
    stored: list[dict[str, Any]] = field(default_factory=list)
    homeserver_keys: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    algorithms: list[str] = field(default_factory=lambda: ["none", "sha256"])
    unbinds: bool = True
    terms_signed: bool = True

    # -- what it tells others

    def signed(self, mxid: str, token: str, **more: Any) -> dict[str, Any]:
        made = sign_json({"mxid": mxid, "token": token, **more}, ServerName(self.host), self.key)
        return dict(made)

    def onbind(self, address: str, mxid: str) -> dict[str, Any]:
        """The body of PUT /3pid/onbind for all invitations of an address."""
        invites = [
            {
                "medium": one["medium"],
                "address": one["address"],
                "room_id": one["room_id"],
                "sender": one["sender"],
                "mxid": mxid,
                "signed": self.signed(mxid, one["token"]),
            }
            for one in self.stored
            if one["address"] == address
        ]
        return {"medium": "email", "address": address, "mxid": mxid, "invites": invites}

    # -- what it is asked

    def answer(self, method: str, target: str, headers: dict[str, str], body: Any) -> Any:
        parts = urlsplit(target)
        path = parts.path.removeprefix(V2)
        self.asked.append(path)
        if path == "/3pid/unbind":
            return self._unbind(target, headers, body)
        if path in ("/pubkey/isvalid", "/pubkey/ephemeral/isvalid"):
            (public_key,) = parse_qs(parts.query)["public_key"]
            return {"valid": public_key == self.key.verify_key_b64 and public_key not in self.revoked}
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise No(401, "M_UNAUTHORIZED", "Unauthorised")
        if not self.terms_signed:
            raise No(403, "M_TERMS_NOT_SIGNED", "Please accept our updated terms of service before continuing")
        if (method, path) == ("GET", "/hash_details"):
            return {"lookup_pepper": PEPPER, "algorithms": self.algorithms}
        if path == "/lookup":
            return {"mappings": self._looked_up(body)}
        if path == "/store-invite":
            return self._store(body)
        if path == "/3pid/bind":
            return self._bind(body)
        raise No(404, "M_UNRECOGNIZED")

    def _looked_up(self, body: Any) -> dict[str, str]:
        if body["pepper"] != PEPPER:
            raise No(400, "M_INVALID_PEPPER")
        found = {}
        for (medium, address), mxid in self.bound.items():
            wanted = f"{address} {medium}"
            if body["algorithm"] == "sha256":
                digest = hashlib.sha256(f"{address} {medium} {PEPPER}".encode()).digest()
                wanted = encode_base64(digest).replace("+", "-").replace("/", "_")
            if wanted in body["addresses"]:
                found[wanted] = mxid
        return found

    def _store(self, body: Any) -> Any:
        if (body["medium"], body["address"]) in self.bound:
            raise No(400, "M_THREEPID_IN_USE")
        token = f"token{len(self.stored)}"
        self.letters.append(body)
        self.stored.append({**body, "token": token})
        base = f"https://{self.name}{V2}/pubkey"
        ephemeral = SigningKey("ed25519:0", bytes([len(self.stored)]) * 32)
        return {
            "token": token,
            "public_keys": [
                {"public_key": self.key.verify_key_b64, "key_validity_url": f"{base}/isvalid"},
                {"public_key": ephemeral.verify_key_b64, "key_validity_url": f"{base}/ephemeral/isvalid"},
            ],
            "display_name": "f...@b...",
        }

    def _bind(self, body: Any) -> Any:
        secret, medium, address = self.sessions.get(body["sid"], ("", "", ""))
        if not secret or secret != body["client_secret"]:
            raise No(404, "M_NO_VALID_SESSION")
        self.bound[medium, address] = body["mxid"]
        return sign_json(
            {"medium": medium, "address": address, "mxid": body["mxid"], "ts": 1, "not_before": 1, "not_after": 2},
            ServerName(self.host),
            self.key,
        )

    def _unbind(self, target: str, headers: dict[str, str], body: Any) -> Any:
        if not self.unbinds:
            raise No(404, "")
        told = parse_x_matrix(headers["authorization"])
        request = {
            "method": "POST",
            "uri": target,
            "origin": told.origin,
            "destination_is": self.name,
            "content": body,
        }
        public_key = self.homeserver_keys[told.origin]
        verify(public_key, orjson.dumps(request, option=orjson.OPT_SORT_KEYS), told.signature)
        assert body["mxid"].endswith(f":{told.origin}")
        self.bound.pop((body["threepid"]["medium"], body["threepid"]["address"]))
        return {}


@asynccontextmanager
async def identity_server(certificate: Certificate, host: str, address: str) -> AsyncIterator[IdentityServer]:
    """One that listens on a free port of `address`, until the end of the block."""
    made = IdentityServer(host)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines if one)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            try:
                status, answer = 200, made.answer(method, target, headers, orjson.loads(body) if body else None)
            except No as no:
                status, answer = no.status, no.body if no.body["errcode"] else "not JSON of Matrix"
            data = orjson.dumps(answer)
            line = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
            writer.write(line.encode() + data)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, 0, ssl=certificate.context())
    made.name = f"{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
