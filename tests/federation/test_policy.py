"""Rooms with a policy server. spec: Matrix server-server-api "Policy Servers", POST /sign"""

from pathlib import Path

import pytest

from tests.federation.servers import Islands, islands, server
from tests.federation.test_joining import ONE, TWO, account, make_room, room_of, same_state, text, until
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import add_signature, parse_event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.room_version import get_room_version
from tripoint.core.signing import SigningKey
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import Invite, Join, Redact, SendEvent, SendState
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.runtime.app import App

GUARD = server("guard.example")
# Not the key with which the guard's server signs its requests.
KEY = SigningKey("ed25519:policy_server", bytes([7]) * 32)


class Guard:
    """A policy server that does not like some words."""

    def __init__(self, key: SigningKey = KEY) -> None:
        self.key = key
        self.asked: list[str] = []

    @endpoint("POST", "/_matrix/policy/v1/sign", auth=Auth.SERVER)
    async def sign(self, call: Call) -> Response:
        event = parse_event(call.json(), get_room_version("12"))
        self.asked.append(event.event_id)
        if "spam" in str(event.content.get("body")):
            raise MatrixError(400, "M_FORBIDDEN", "The message appears to contain possible spam")
        signed = add_signature(event, GUARD, self.key)
        own = signed.signatures[GUARD]
        assert isinstance(own, dict)
        return json_response({GUARD: {self.key.key_id: own[self.key.key_id]}})


async def say(app: App, who: UserId, room_id: RoomId, words: str) -> str:
    done = await app.middle.service.do(
        SendEvent(actor=who, room_id=room_id, type="m.room.message", content=text(words))
    )
    assert done.event_id is not None
    return done.event_id


async def guarded(made: Islands, guard: Guard) -> tuple[RoomId, UserId, UserId]:
    """A room of alice and bob, with a guard of another server in it."""
    one, two, third = (made.apps[name] for name in (ONE, TWO, GUARD))
    third.matrix.listener._router.add(guard)
    alice, bob, warden = await account(one, "alice"), await account(two, "bob"), await account(third, "warden")
    room_id = await make_room(one, alice)
    for app, who in ((two, bob), (third, warden)):
        await app.middle.service.do(Join(actor=who, room_id=room_id, via=(ONE,)))
    for app in (one, two):
        await until(app, room_id, lambda room: room.membership(warden) == "join" and room.membership(bob) == "join")
    content: JsonObject = {"via": GUARD, "public_keys": {"ed25519": KEY.verify_key_b64}}
    await one.middle.service.do(
        SendState(actor=alice, room_id=room_id, type="m.room.policy", state_key="", content=content)
    )
    assert not guard.asked
    for app in (two, third):
        await until(app, room_id, lambda room: ("m.room.policy", "") in room.state)
    return room_id, alice, bob


def seen(app: App, room_id: RoomId, event_id: str) -> bool:
    room = app.middle.loaded.peek(room_id)
    return room is not None and any(item.event.event_id == event_id for item in room.recent)


def test_what_is_said_carries_the_signature_of_the_policy_server(tmp_path: Path) -> None:
    async def work() -> None:
        guard = Guard()
        async with islands(tmp_path, ONE, TWO, GUARD) as made:
            room_id, alice, _ = await guarded(made, guard)
            one, two = made.apps[ONE], made.apps[TWO]
            said = await say(one, alice, room_id, "hello")
            room = await until(two, room_id, lambda room: room.recent[-1].event.event_id == said)
            signatures = room.recent[-1].event.signatures
            assert set(signatures) == {ONE, GUARD} and guard.asked == [said]
            # What goes with an event goes with it: a redaction, an invitation, a state.
            await one.middle.service.do(Redact(actor=alice, room_id=room_id, event_id=said))  # type: ignore[arg-type]
            await until(two, room_id, lambda room: room.recent[-1].event.type == "m.room.redaction")
            carol = await account(two, "carol")
            await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=carol))
            await two.middle.service.do(Join(actor=carol, room_id=room_id))
            await until(one, room_id, lambda room: room.membership(carol) == "join")
            await same_state((one, two), room_id)

    run(work)


def test_what_the_policy_server_refuses_is_said_to_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        guard = Guard()
        async with islands(tmp_path, ONE, TWO, GUARD) as made:
            room_id, alice, _ = await guarded(made, guard)
            one = made.apps[ONE]
            before = (await room_of(one, room_id)).head.rows()
            with pytest.raises(Refused) as caught:
                await say(one, alice, room_id, "buy spam")
            assert caught.value.refusal is Refusal.CANNOT_SPEAK
            assert caught.value.text == "The message appears to contain possible spam"
            assert (await room_of(one, room_id)).head.rows() == before
            await made.stop(GUARD)
            with pytest.raises(Refused) as caught:
                await say(one, alice, room_id, "hello")
            assert caught.value.refusal is Refusal.REMOTE_TIMEOUT and GUARD in caught.value.text

    run(work)


@pytest.mark.parametrize("words", ["buy spam", "hello"])
def test_a_server_that_does_not_ask_is_asked_for(tmp_path: Path, words: str) -> None:
    """What comes without the signature is asked about here; what is not recommended is soft-failed."""

    async def work() -> None:
        guard = Guard()
        async with islands(tmp_path, ONE, TWO, GUARD) as made:
            room_id, _, bob = await guarded(made, guard)
            one, two = made.apps[ONE], made.apps[TWO]
            two.middle.writer.policy = None
            said = await say(two, bob, room_id, words)
            two.middle.writer.policy = two.middle.accept.policy
            later = await say(two, bob, room_id, "and on")
            await until(one, room_id, lambda room: room.recent[-1].event.event_id == later)
            assert seen(one, room_id, said) == (words == "hello")

    run(work)


def test_a_signature_by_another_key_does_not_count(tmp_path: Path) -> None:
    async def work() -> None:
        guard = Guard(SigningKey("ed25519:policy_server", bytes([8]) * 32))
        async with islands(tmp_path, ONE, TWO, GUARD) as made:
            room_id, alice, _ = await guarded(made, guard)
            with pytest.raises(Refused) as caught:
                await say(made.apps[ONE], alice, room_id, "hello")
            assert caught.value.refusal is Refusal.REMOTE_TIMEOUT

    run(work)


