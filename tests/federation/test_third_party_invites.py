"""Inviting by e-mail address: whole servers and an identity server over HTTPS.

spec: Matrix client-server-api module third-party-invites; server-server-api "Third-party invites";
identity-service-api
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from tests.federation.servers import ADDRESS, Islands, server
from tests.federation.test_joining import room_of
from tests.matrix.client import PASSWORD, Client, Server, q
from tests.net.https import make_certificate
from tests.support.identity_server import TOKEN, IdentityServer, identity_server
from tests.support.middle import run
from tripoint.config.options import Accounts, Federation, Tls
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.runtime.app import App

ONE, TWO = "one.example", "two.example"
FRIEND = "Friend@home.example"
EVENT = "m.room.third_party_invite"


class World:
    def __init__(self, made: Islands, identity: IdentityServer) -> None:
        self.made = made
        self.identity = identity

    @property
    def one(self) -> App:
        return self.made.apps[ONE]

    @property
    def two(self) -> App:
        return self.made.apps[TWO]

    async def client(self, app: App, name: str) -> Client:
        server = Server(cast(Any, None), app.matrix, cast(Any, None))
        return await server.register(name)

    def by_mail(self, **changes: Any) -> dict[str, Any]:
        body = {"id_server": self.identity.name, "id_access_token": TOKEN, "medium": "email", "address": FRIEND}
        return {**body, **changes}

    async def onbind(self, app: App, mxid: str, method: str = "PUT", **changes: Any) -> tuple[int, Any]:
        """The identity server tells a homeserver that somebody has the address now."""
        server = Server(cast(Any, None), app.matrix, cast(Any, None))
        body = {**self.identity.onbind("friend@home.example", mxid), **changes}
        answer = await server.request(method, "/_matrix/federation/v1/3pid/onbind", body)
        return answer.status, orjson.loads(answer.body)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    certificate = make_certificate(folder, "id.example")
    made = Islands(folder, (ONE, TWO))
    made.make_certificates()
    async with identity_server(certificate, "id.example", ADDRESS) as identity:
        trusted = (*(str(folder / name / "self-made.crt") for name in (ONE, TWO)), str(certificate.path))
        config: dict[str, object] = {
            "tls": Tls(extra_authorities=trusted),
            "federation": Federation(identity_servers=(identity.name,)),
            "accounts": Accounts(registration="open", scram_iterations=10_000),
        }
        try:
            for name in (ONE, TWO):
                app = await made.start(name, **config)
                identity.homeserver_keys[name] = app.federation.trust.own.key.verify_key_b64
            yield World(made, identity)
        finally:
            for name in list(made.apps):
                await made.stop(name)


async def own(app: App, room_id: str) -> Any:
    return await room_of(app, RoomId(room_id))


def test_whoever_is_found_is_invited_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice, bob = await w.client(w.one, "alice"), await w.client(w.one, "bob")
            room_id = await alice.create(preset="private_chat")
            w.identity.bound["email", "friend@home.example"] = bob.user_id
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail(reason="tea"))
            member = (await own(w.one, room_id)).member(UserId(bob.user_id))
            assert member.membership == "invite" and member.event.content["reason"] == "tea"
            assert "third_party_invite" not in member.event.content and w.identity.letters == []
            # Hashed, as the identity server prefers it; and in clear where it knows nothing else.
            carol = await w.client(w.one, "carol")
            w.identity.bound["email", "friend@home.example"] = carol.user_id
            w.identity.algorithms = ["none"]
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())
            assert (await own(w.one, room_id)).membership(UserId(carol.user_id)) == "invite"

    run(work, timeout_s=60)


def test_who_is_not_known_yet_is_written_to_and_comes_later(tmp_path: Path) -> None:
    """The three homeservers' way of the specification's picture, without the third."""

    async def work() -> None:
        async with world(tmp_path) as w:
            alice = await w.client(w.one, "alice")
            room_id = await alice.create(preset="private_chat", name="Tea")
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())
            (letter,) = w.identity.letters
            assert letter == {
                "medium": "email",
                "address": "friend@home.example",
                "room_id": room_id,
                "sender": alice.user_id,
                "room_join_rules": "invite",
                "room_name": "Tea",
                "sender_display_name": "alice",
            }
            content = await alice.call("GET", f"/rooms/{q(room_id)}/state/{EVENT}/token0")
            assert content["display_name"] == "f...@b..." and "home.example" not in orjson.dumps(content).decode()
            assert content["public_key"] == content["public_keys"][0]["public_key"]
            # On the other server somebody shows that the address is his; that is all he does.
            friend = await w.client(w.two, "friend")
            assert await w.onbind(w.two, friend.user_id) == (200, {})
            synced = await friend.call("GET", "/sync")
            assert room_id in synced["rooms"]["invite"]
            member = (await own(w.one, room_id)).member(UserId(friend.user_id))
            assert (member.membership, member.event.sender) == ("invite", alice.user_id)
            proof = member.event.content["third_party_invite"]
            assert proof["display_name"] == "f...@b..." and proof["signed"]["token"] == "token0"
            assert "/pubkey/isvalid" in w.identity.asked
            await friend.join(room_id)
            assert (await own(w.one, room_id)).membership(UserId(friend.user_id)) == "join"
            # It is told again, by an identity server that got no answer: nothing happens.
            assert await w.onbind(w.two, friend.user_id, method="POST") == (200, {})
            assert (await own(w.one, room_id)).membership(UserId(friend.user_id)) == "join"

    run(work, timeout_s=60)


def test_somebody_of_the_same_server_comes_in_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice, friend = await w.client(w.one, "alice"), await w.client(w.one, "friend")
            room_id = await alice.create(preset="private_chat", invite_3pid=[w.by_mail()])
            assert await w.onbind(w.one, friend.user_id) == (200, {})
            assert (await own(w.one, room_id)).membership(UserId(friend.user_id)) == "invite"
            await friend.join(room_id)

    run(work, timeout_s=60)


def test_a_client_that_has_the_proof_joins_by_itself(tmp_path: Path) -> None:
    """spec: POST /join third_party_signed: "verify that it matches a pending m.room.third_party_invite event" """

    async def work() -> None:
        async with world(tmp_path) as w:
            alice = await w.client(w.one, "alice")
            room_id = await alice.create(preset="private_chat")
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())
            for app in (w.one, w.two):
                friend = await w.client(app, "friend")
                # What sign-ed25519 answers has the sender in it, signed along.
                signed = w.identity.signed(friend.user_id, "token0", sender=alice.user_id)
                path = f"/join/{q(room_id)}"
                for wrong, code in (
                    ({**signed, "mxid": alice.user_id}, "M_FORBIDDEN"),
                    ({**signed, "signatures": {}}, "M_BAD_JSON"),
                    # The other server is not in the room, and this sender has made no invitation there.
                    ({**signed, "sender": friend.user_id}, "M_FORBIDDEN" if app is w.one else "M_NOT_FOUND"),
                    ({**signed, "token": "token1"}, "M_FORBIDDEN"),
                ):
                    status, errcode = await friend.refused("POST", path, {"third_party_signed": wrong})
                    assert (status // 100, errcode) == (4, code), wrong
                await friend.call("POST", path, {"third_party_signed": signed})
                assert (await own(w.one, room_id)).membership(UserId(friend.user_id)) == "join"

    run(work, timeout_s=60)


def test_proofs_that_prove_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice, friend = await w.client(w.one, "alice"), await w.client(w.two, "friend")
            room_id = await alice.create(preset="private_chat")
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())

            async def membership() -> str:
                return str((await own(w.one, room_id)).membership(UserId(friend.user_id)))

            good = w.identity.onbind("friend@home.example", friend.user_id)["invites"][0]
            forged = {**good["signed"], "mxid": friend.user_id, "token": "token0", "signatures": {"id.example": {}}}
            for invite in (
                5,
                {**good, "signed": forged},
                {**good, "signed": w.identity.signed(friend.user_id, "other")},
                {**good, "sender": friend.user_id},
                {**good, "sender": "@mallory:one.example"},
                {**good, "room_id": "!other:one.example"},
                {**good, "signed": w.identity.signed("@mallory:two.example", "token0")},
            ):
                status, _ = await w.onbind(w.two, friend.user_id, invites=[invite])
                assert status == 200 and await membership() == "leave", invite
            # A key that was taken back counts no more, whatever it has signed.
            w.identity.revoked.add(w.identity.key.verify_key_b64)
            assert (await w.onbind(w.two, friend.user_id))[0] == 200 and await membership() == "leave"
            w.identity.revoked.clear()
            for mxid in ("@nobody:two.example", "@friend:three.example", "friend"):
                assert (await w.onbind(w.two, mxid))[0] in (400, 404)
            assert (await w.onbind(w.two, friend.user_id, invites=[good] * 21))[0] == 400
            # Nor what another server asks for somebody who is not its own.
            content = {"membership": "invite", "third_party_invite": {"display_name": "f", "signed": good["signed"]}}
            body = {
                "type": "m.room.member",
                "room_id": room_id,
                "sender": alice.user_id,
                "state_key": alice.user_id,
                "content": content,
            }
            for changes in ({}, {"type": "m.room.name"}, {"room_id": "!x:one.example"}):
                target = f"/_matrix/federation/v1/exchange_third_party_invite/{q(room_id)}"
                with pytest.raises(RemoteRefused) as refused:
                    await w.two.federation.trust.client.request(server(ONE), "PUT", target, {**body, **changes})
                assert refused.value.errcode == "M_INVALID_PARAM"
            assert await membership() == "leave"
            # What alice takes back is gone.
            await alice.call("PUT", f"/rooms/{q(room_id)}/state/{EVENT}/token0", {})
            assert (await w.onbind(w.two, friend.user_id))[0] == 200 and await membership() == "leave"

    run(work, timeout_s=60)


def test_an_identity_server_that_is_told_of_failure_tries_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice, friend = await w.client(w.one, "alice"), await w.client(w.two, "friend")
            room_id = await alice.create(preset="private_chat")
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())
            await w.made.stop(ONE)
            status, answer = await w.onbind(w.two, friend.user_id)
            assert (status, answer["errcode"]) == (503, "M_UNKNOWN")

    run(work, timeout_s=60)


def test_nobody_asks_too_much_through_an_identity_server(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            friend = await w.client(w.two, "friend")
            statuses = [(await w.onbind(w.two, friend.user_id, invites=[5] * 20))[0] for _ in range(4)]
            assert statuses == [200, 200, 429, 429]

    run(work, timeout_s=60)


def test_who_invited_may_have_left_since(tmp_path: Path) -> None:
    """spec: rooms/v12.md rule 4.4.1: allowed before the sender's membership is looked at."""

    async def work() -> None:
        async with world(tmp_path) as w:
            alice, bob = await w.client(w.one, "alice"), await w.client(w.one, "bob")
            friend = await w.client(w.one, "friend")
            for version in ("6", "12"):
                room_id = await alice.create(preset="private_chat", room_version=version, invite=[bob.user_id])
                await bob.join(room_id)
                await alice.call("POST", f"/rooms/{q(room_id)}/invite", w.by_mail())
                await alice.call("POST", f"/rooms/{q(room_id)}/leave", {})
                assert await w.onbind(w.one, friend.user_id) == (200, {})
                await friend.join(room_id)
                w.identity.stored.clear()
                w.identity.letters.clear()

    run(work, timeout_s=60)


def test_who_may_not_invite_has_nobody_written_to(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice, bob = await w.client(w.one, "alice"), await w.client(w.one, "bob")
            room_id = await alice.create(preset="public_chat", power_level_content_override={"invite": 50})
            path = f"/rooms/{q(room_id)}/invite"
            assert await bob.refused("POST", path, w.by_mail()) == (403, "M_FORBIDDEN")
            await bob.join(room_id)
            assert await bob.refused("POST", path, w.by_mail()) == (403, "M_FORBIDDEN")
            assert w.identity.asked == []
            # Nor is anybody whom no administrator trusts spoken to.
            other = w.by_mail(id_server="evil.example")
            assert await alice.refused("POST", path, other) == (403, "M_SERVER_NOT_TRUSTED")
            refused = await alice.refused("POST", "/createRoom", {"invite_3pid": [other]})
            assert refused == (403, "M_SERVER_NOT_TRUSTED")
            assert await alice.refused("POST", path, w.by_mail(address="no address")) == (400, "M_BAD_JSON")
            for lacking in ("id_server", "id_access_token", "address"):
                body = {key: value for key, value in w.by_mail().items() if key != lacking}
                assert await alice.refused("POST", path, body) == (400, "M_MISSING_PARAM")
            assert w.identity.asked == []
            # What the identity server says is for who asks; 401 would be about the token of this server.
            assert await alice.refused("POST", path, w.by_mail(id_access_token="x")) == (403, "M_UNAUTHORIZED")
            w.identity.terms_signed = False
            assert await alice.refused("POST", path, w.by_mail()) == (403, "M_TERMS_NOT_SIGNED")
            assert w.identity.letters == []

    run(work, timeout_s=60)


def test_an_address_is_published_and_forgotten(tmp_path: Path) -> None:
    """spec: POST /account/3pid/bind, /unbind, /delete, /deactivate"""

    async def work() -> None:
        async with world(tmp_path) as w:
            alice = await w.client(w.one, "alice")
            of = {"medium": "email", "address": FRIEND}
            assert await alice.call("POST", "/account/3pid/unbind", of) == {"id_server_unbind_result": "no-support"}
            w.identity.sessions["s1"] = ("secret", "email", "friend@home.example")
            bind = {"sid": "s1", "client_secret": "secret", "id_server": w.identity.name, "id_access_token": TOKEN}
            wrong = {**bind, "client_secret": "other"}
            assert await alice.refused("POST", "/account/3pid/bind", wrong) == (404, "M_NO_VALID_SESSION")
            for result, unbinds, path in (
                ("success", True, "/account/3pid/unbind"),
                ("success", True, "/account/3pid/delete"),
                ("no-support", False, "/account/3pid/unbind"),
            ):
                w.identity.unbinds = True
                assert await alice.call("POST", "/account/3pid/bind", bind) == {}
                assert w.identity.bound == {("email", "friend@home.example"): alice.user_id}
                w.identity.unbinds = unbinds
                # Through which server it was bound is known here.
                assert await alice.call("POST", path, of) == {"id_server_unbind_result": result}
                assert bool(w.identity.bound) is not unbinds
            w.identity.unbinds = True
            named = {**of, "id_server": "evil.example"}
            assert await alice.call("POST", "/account/3pid/unbind", named) == {"id_server_unbind_result": "no-support"}
            auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
            done = await alice.call("POST", "/account/deactivate", {"auth": {**auth, "password": PASSWORD}})
            assert done == {"id_server_unbind_result": "success"} and w.identity.bound == {}

    run(work, timeout_s=60)


def test_an_administrator_who_closes_an_account_has_it_forgotten_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            alice = await w.client(w.one, "alice")
            w.identity.sessions["s1"] = ("secret", "email", "friend@home.example")
            bind = {"sid": "s1", "client_secret": "secret", "id_server": w.identity.name, "id_access_token": TOKEN}
            await alice.call("POST", "/account/3pid/bind", bind)
            await w.one.middle.accounts.deactivate(UserId(alice.user_id))
            assert w.identity.bound == {}

    run(work, timeout_s=60)
