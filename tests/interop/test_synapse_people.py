"""Somebody on a matrix-synapse, somebody on IRC and somebody on XMPP of a tripoint, in one room of the Synapse.

They talk, edit, react, take back and are shown out; each sees what the others did in their own protocol, under the
same ids. spec: docs/mapping.md 1.5, 3.2, 11.1-11.12, 4.10
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.matrix_person import Person
from tests.interop.peer import until
from tests.interop.slix_peer import SlixPeer
from tests.interop.two_servers import SYNAPSE, World, two_servers

pytestmark = pytest.mark.interop

EDIT = "tripoint.dev/edit"


def test_one_room_three_protocols_two_servers(tmp_path: Path) -> None:
    with two_servers(tmp_path) as world:
        world.run(_story(world))


async def _line(irc: IrcPeer, *parts: str) -> str:
    """A line with all of these in it, once it has come."""
    await until(lambda: _found(irc.lines, parts), lambda: f"no {parts} in\n" + "\n".join(irc.lines[-20:]))
    return _found(irc.lines, parts)[-1]


async def _stanza(slix: SlixPeer, *parts: str) -> str:
    await until(lambda: _found(slix.stanzas, parts), lambda: f"no {parts} in\n" + "\n".join(slix.stanzas[-20:]))
    return _found(slix.stanzas, parts)[-1]


def _found(texts: list[str], parts: tuple[str, ...]) -> list[str]:
    return [text for text in texts if all(part in text for part in parts)]


async def _story(world: World) -> None:
    nora = await world.person("synapse", "nora")
    room = await nora.create(room_alias_name="tea", name="Tea", topic="Kettle on")
    irc = IrcPeer("ivan", channel=f"#tea:{SYNAPSE}", capabilities=("draft/message-redaction", EDIT))
    slix = SlixPeer("sam", room=f"tea%{SYNAPSE}")
    try:
        for peer in (irc, slix):
            await peer.start(world.tripoint.process)
            await peer.join()
        await until(lambda: irc.topic() == "Kettle on", lambda: irc.topic())
        assert slix.topic() == "Kettle on"
        await _talk(nora, room, irc, slix)
        await _edit(nora, room, irc, slix)
        await _react(nora, room, irc, slix)
        await _redact(nora, room, irc, slix)
        await nora.call("POST", f"/rooms/{room}/kick", {"user_id": f"@ivan:{world.tripoint.name}", "reason": "later"})
        await until(lambda: not irc.in_room(), lambda: "\n".join(irc.lines[-10:]))
        await until(lambda: "ivan" not in (slix.people() or ()), lambda: f"{slix.people()}")
    finally:
        await asyncio.gather(irc.stop(), slix.stop(), return_exceptions=True)


async def _event(nora: Person, room: str, fact: Callable[[dict], bool]) -> dict:  # type: ignore[type-arg]
    """The newest event of the room that nora has and that is so."""
    await nora.until(lambda: any(fact(event) for event in nora.timeline[room]))
    return [event for event in nora.timeline[room] if fact(event)][-1]


async def _talk(nora: Person, room: str, irc: IrcPeer, slix: SlixPeer) -> None:
    await nora.send(room, "says-nora-1")
    await until(lambda: irc.seen() and slix.seen(), lambda: f"{irc.seen()} {slix.seen()}")
    await irc.say("says-ivan-1")
    await until(lambda: len(slix.seen()) == 2, lambda: f"{slix.seen()}")
    await slix.say("says-sam-1")
    await nora.until(lambda: len(nora.said(room)) == 3)
    await until(lambda: len(irc.seen()) == len(slix.seen()) == 3, lambda: f"{irc.seen()} {slix.seen()}")
    ids = [event["event_id"] for event in nora.timeline[room] if event["type"] == "m.room.message"]
    assert nora.said(room) == ["says-nora-1", "says-ivan-1", "says-sam-1"]
    for peer in (irc, slix):
        assert [one.text for one in peer.seen()] == nora.said(room)
        assert [one.msgid for one in peer.seen()] == ids


async def _edit(nora: Person, room: str, irc: IrcPeer, slix: SlixPeer) -> None:
    by_nora, by_ivan, by_sam = (one.msgid for one in irc.seen()[:3])
    new = {"msgtype": "m.text", "body": "milk first"}
    relation = {"rel_type": "m.replace", "event_id": by_nora}
    await nora.send(room, {**new, "body": "* milk first", "m.new_content": new, "m.relates_to": relation})
    await _line(irc, f"+{EDIT}={by_nora}", "milk first")
    await _stanza(slix, "<replace", str(by_nora), "milk first")
    irc.connection.send_raw(f"@+{EDIT}={by_ivan} PRIVMSG {irc.channel} :milk last")
    edit = await _event(nora, room, lambda event: "milk last" in event["content"].get("body", ""))
    assert edit["content"]["m.relates_to"] == {"rel_type": "m.replace", "event_id": by_ivan}
    await _stanza(slix, "<replace", str(by_ivan), "milk last")
    own = next(text for text in slix.stanzas if str(by_sam) in text)
    slix_id = own.partition(' id="')[2].partition('"')[0]
    slix.client.send_raw(
        f"<message to='{slix.room}' type='groupchat' id='edit1'><body>no milk</body>"
        f"<replace xmlns='urn:xmpp:message-correct:0' id='{slix_id}'/></message>"
    )
    edit = await _event(nora, room, lambda event: "no milk" in event["content"].get("body", ""))
    assert edit["content"]["m.relates_to"] == {"rel_type": "m.replace", "event_id": by_sam}
    await _line(irc, f"+{EDIT}={by_sam}", "no milk")


async def _react(nora: Person, room: str, irc: IrcPeer, slix: SlixPeer) -> None:
    about = str(irc.seen()[0].msgid)
    annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": about, "key": "🫖"}}
    reaction = await nora.send(room, annotation, "m.reaction")
    await _line(irc, "+draft/react=🫖", f"+reply={about}", "nora")
    await _stanza(slix, "urn:xmpp:reactions:0", about, "🫖")
    irc.connection.send_raw(f"@+reply={about};+draft/react=👍 TAGMSG {irc.channel}")
    slix.client.send_raw(
        f"<message to='{slix.room}' type='groupchat' id='react1'><reactions xmlns='urn:xmpp:reactions:0' id='{about}'>"
        "<reaction>❤️</reaction></reactions></message>"
    )
    for name, key in (("ivan", "👍"), ("sam", "❤️")):
        found = await _event(nora, room, lambda e, name=name: e["type"] == "m.reaction" and f"@{name}:" in e["sender"])  # type: ignore[misc]
        assert found["content"]["m.relates_to"] == {"rel_type": "m.annotation", "event_id": about, "key": key}
    await nora.redact(room, reaction)
    await _line(irc, "+draft/unreact=🫖", f"+reply={about}")


async def _redact(nora: Person, room: str, irc: IrcPeer, slix: SlixPeer) -> None:
    by_nora, by_ivan, by_sam = (str(one.msgid) for one in irc.seen()[:3])
    await nora.redact(room, by_nora)
    await _line(irc, " redact ", by_nora)
    await _stanza(slix, "urn:xmpp:message-retract:1", by_nora)
    irc.connection.send_raw(f"REDACT {irc.channel} {by_ivan} :not that")
    slix.client.send_raw(
        f"<message to='{slix.room}' type='groupchat' id='retract1'>"
        f"<retract xmlns='urn:xmpp:message-retract:1' id='{by_sam}'/></message>"
    )
    for event_id in (by_ivan, by_sam):
        await _event(
            nora,
            room,
            lambda e, event_id=event_id: e["type"] == "m.room.redaction" and e["content"].get("redacts") == event_id,  # type: ignore[misc]
        )
        assert (await nora.event(room, event_id))["content"] == {}
