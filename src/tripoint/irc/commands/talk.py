"""Saying something: PRIVMSG, NOTICE, TAGMSG.

spec: RFC2812 3.3, IRCv3 message-tags "TAGMSG", echo-message, utf8-only; CTCP; docs/mapping.md 10, 11.4, 13.1, 15.
"""

from __future__ import annotations

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.message import EVERYBODY, call_everybody, edit_content, edit_in
from tripoint.core.relations import NOTHING
from tripoint.irc import numerics as n
from tripoint.irc.mass import is_mass, say_to_all
from tripoint.irc.messages import (
    EDIT_CAPABILITY,
    EDIT_TAG,
    MESSAGE,
    REPLY_TAGS,
    TYPING_TAGS,
    TagsTooLarge,
    content_of,
    reply_target,
    thread_target,
)
from tripoint.irc.multiline import Whole
from tripoint.irc.names import foreign_user
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import Audience, Outgoing, safe_client_tags
from tripoint.irc.richtext import Mentions
from tripoint.irc.services import is_service, service
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_TARGETS, PREFIX_SIGNS, ZNC_PLAYBACK
from tripoint.irc.wire import MAX_BODY_BYTES, Line
from tripoint.irc.znc_playback import NICK as PLAYBACK
from tripoint.irc.znc_playback import ask_playback
from tripoint.rooms.answers import answering
from tripoint.rooms.commands import OpenDirect, Redact, SendEvent, SetTyping
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.succession import replacement_of

_ACTION = "\x01ACTION "


@command("PRIVMSG", spec="RFC2812 3.3.1")
async def privmsg(session: IrcSession, line: Line) -> None:
    """PRIVMSG <target>{,<target>} :<text>: say something to channels and people.

    Operators also say it to everybody by $$<server mask>, or by $#<host mask>.
    """
    await _speak(session, line)


@command("NOTICE", spec="RFC2812 3.3.2")
async def notice(session: IrcSession, line: Line) -> None:
    """NOTICE <target>{,<target>} :<text>: as PRIVMSG, of something that asks for no answer, and gets none."""
    await _speak(session, line)


async def _speak(session: IrcSession, line: Line) -> None:
    try:
        targets = _targets(session, line)
        if not line.param(1):
            raise IrcRefused(n.ERR_NOTEXTTOSEND, "No text to send")
    except IrcRefused as refused:
        _refuse(session, refused, line.command, line.param(0))
        return
    session.active_ts_ms = session.network.now_ms()
    for target in targets:
        try:
            await _speak_to(session, line, target)
        except (Refused, IrcRefused) as refused:
            _refuse(session, refused, line.command, target)


async def _speak_to(session: IrcSession, line: Line, target: str) -> None:
    text = line.params[1]
    ctcp = text.startswith("\x01") and not text.startswith(_ACTION)
    if target.startswith("#"):
        if ctcp:
            # spec: docs/mapping.md 10.4
            raise IrcRefused(n.ERR_CANNOTSENDTOCHAN, echo(target), "CTCP works between two people only")
        room_id = await session.room_named(target)
        message = await _message(session, line, room_id, _member_named(session, session.reader.peek(room_id)))
        await session.post(message, lambda refused: _refuse(session, refused, line.command, target))
        return
    if target[:1] in PREFIX_SIGNS and target[1:2] == "#":
        # spec: docs/mapping.md 10.10; STATUSMSG is not in ISUPPORT
        raise IrcRefused(n.ERR_CANNOTSENDTOCHAN, echo(target), "Use a separate room")
    if is_service(target):
        if line.command == "PRIVMSG":
            await service(session, target, text)
        return
    if target.lower() == PLAYBACK and ZNC_PLAYBACK in session.caps and line.command == "PRIVMSG":
        await ask_playback(session, text)
        return
    if is_mass(target):
        say_to_all(session, line, target)
        return
    user_id = await _recipient(session, target)
    if ctcp:
        _relay_ctcp(session, line, user_id)
        return
    await _send_direct(session, line, user_id)


async def _recipient(session: IrcSession, target: str) -> UserId:
    """Who has this nick. Raises IrcRefused: 401; 477 where a guest writes to who hears of accounts alone (+R)."""
    # docs/mapping.md 15.8: nobody here needs to have heard of somebody of another XMPP server
    user_id = foreign_user(target, session.names.server) or await session.user_named(target)
    if session.account.guest and any("R" in other.modes for other in session.network.sessions.of(user_id)):
        text = "They take messages from accounts alone; log in to write to them"
        raise IrcRefused(n.ERR_NEEDREGGEDNICK, echo(target), text)
    return user_id


async def _send_direct(session: IrcSession, line: Line, user_id: UserId) -> None:
    room_id = await _direct_room(session, user_id)
    mentions = _member_named(session, session.reader.peek(room_id))
    try:
        await _send(session, line, room_id, mentions)
    except Refused as refused:
        if refused.refusal is not Refusal.NOT_JOINED:
            raise
        # We, or they, have left it since: their next direct room is found or made.
        session.direct = {other: known for other, known in session.direct.items() if other != user_id}
        await _send(session, line, await _direct_room(session, user_id), mentions)
    presence = session.reader.presence(user_id)
    if presence.presence == "unavailable" and line.command == "PRIVMSG":
        session.numeric(n.RPL_AWAY, session.names.nick(user_id), presence.status_msg or "Away")


async def _direct_room(session: IrcSession, user_id: UserId) -> RoomId:
    """The direct room with a user; asked for anew when the peer is no longer in it (15.1)."""
    known = session.direct.get(user_id)
    if known is not None:
        room = session.reader.peek(known)
        usable = room is not None and not room.encrypted and replacement_of(room) is None
        if room is not None and usable and room.membership(user_id) == "join":
            return known
    try:
        done = await session.do(OpenDirect(actor=session.user_id, target=user_id, origin=session.origin()))
    except Refused as refused:
        if refused.refusal is not Refusal.ENCRYPTED:
            raise
        # docs/mapping.md 15.4
        way = f"/msg NickServ PLAINDM {session.names.nick(user_id)} opens an unencrypted one"
        raise Refused(Refusal.ENCRYPTED, f"{refused.text}; {way}") from refused
    assert done.room_id is not None
    session.direct = {**session.direct, user_id: done.room_id}
    await session.network.channels.settled(done.room_id)
    room = session.reader.peek(done.room_id)
    if done.created and room is not None and room.membership(user_id) == "invite":
        # docs/mapping.md 15.5: what is said now is read when they have come in.
        nick = session.names.nick(user_id)
        session.standard("NOTE", "PRIVMSG", "PENDING", nick, text=f"{nick} reads this when they accept to talk to you")
    return done.room_id


async def _send(session: IrcSession, line: Line, room_id: RoomId, mentions: Mentions) -> None:
    await session.do(await _message(session, line, room_id, mentions))


async def _message(session: IrcSession, line: Line, room_id: RoomId, mentions: Mentions) -> SendEvent:
    relation = NOTHING
    reply, thread = reply_target(line.tags), thread_target(line.tags)
    if reply is not None or thread is not None:
        relation = await answering(session.reader, room_id, session.user_id, reply=reply, thread=thread)
    file = None
    if session.network.media.links.is_link(line.params[1]):
        # spec: docs/mapping.md 12.3
        file = await session.network.media.received.content(line.params[1], session.user_id)
    try:
        cuts = line.cuts if isinstance(line, Whole) else ()
        content = content_of(line.command, line.params[1], line.tags, mentions, relation, file, cuts)
    except TagsTooLarge:
        raise IrcRefused(n.ERR_INPUTTOOLONG, "Your client-only tags are over 8 KiB") from None
    room = session.reader.peek(room_id) if EVERYBODY in line.params[1] else None
    if room is not None and room.power.may_call_everybody(session.user_id):
        call_everybody(content)
    if EDIT_TAG in line.tags and EDIT_CAPABILITY in session.caps:
        content = edit_content(await _edited(session, room_id, line.tags[EDIT_TAG]), content)
    return SendEvent(actor=session.user_id, room_id=room_id, type=MESSAGE, content=content, origin=session.origin())


async def _edited(session: IrcSession, room_id: RoomId, msgid: str) -> EventId:
    """The message that an edit is of: one's own; of an edit, what that edits.  spec: docs/mapping.md 11.2, 11.3"""
    try:
        item = await session.reader.event(room_id, EventId(msgid), session.user_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_EVENT:
            raise
        raise Failed("UNKNOWN_MSGID", echo(msgid), text=refused.text) from refused
    event = item.event
    if event.type != MESSAGE or item.redacted_because is not None:
        raise Failed("UNKNOWN_MSGID", echo(msgid), text="There is no such message")
    if event.sender != session.user_id:
        raise Failed("EDIT_FORBIDDEN", echo(msgid), text="You can edit your own messages only")
    edit = edit_in(event.content)
    return event.event_id if edit is None else EventId(edit[0])


def _member_named(session: IrcSession, room: RoomView | None) -> Mentions:
    """Who in the room has a nick: what makes a word a mention (MAPPING 2.10)."""
    joined = room.joined() if room is not None else {}
    user = session.names.user

    def lookup(word: str) -> UserId | None:
        found = user(word)
        return found if found is not None and found in joined else None

    return lookup


def _relay_ctcp(session: IrcSession, line: Line, user_id: UserId) -> None:
    """Between live IRC sessions only; a user without one does not answer.  spec: docs/mapping.md 10.4"""
    body = f":{session.mask} {line.command} {session.names.nick(user_id)} :{line.params[1]}"
    if len(body.encode("utf-8", "replace")) > MAX_BODY_BYTES:
        # What a client reads as one thing cannot be cut.
        raise IrcRefused(n.ERR_INPUTTOOLONG, "With your mask before it that is too long for a line")
    out = Outgoing(
        [body],
        ts_ms=session.network.now_ms(),
        who=session.names.who(session.user_id),
        client_tags=safe_client_tags(line.tags.items()),
    )
    if "echo-message" in session.caps:
        session.own(out)
    if session.reader.blocks(user_id, session.user_id):
        return  # as if nobody was there (MAPPING 16.3)
    for other in session.network.sessions.of(user_id):
        other.tell(out)


def _refuse(session: IrcSession, refused: Refused | IrcRefused, command_name: str, target: str) -> None:
    """spec: docs/mapping.md 25: who is not in the room cannot send to it: 404.

    RFC2812 3.3.2 of NOTICE: servers "must not send any error reply back to the client".
    """
    if command_name == "NOTICE":
        return
    if isinstance(refused, IrcRefused):
        session.numeric(refused.numeric, *refused.params)
    elif refused.refusal is Refusal.NOT_JOINED and target.startswith("#"):
        session.numeric(n.ERR_CANNOTSENDTOCHAN, echo(target), refused.text)
    else:
        session.refuse(refused, command_name, target)


def _targets(session: IrcSession, line: Line) -> list[str]:
    """Whom a line is for, each once. Raises IrcRefused: 411 for nobody, 407 for too many."""
    targets = list(dict.fromkeys(target for target in line.param(0).split(",") if target))
    if not targets:
        raise IrcRefused(n.ERR_NORECIPIENT, f"No recipient given ({line.command})")
    if len(targets) > MAX_TARGETS:
        raise IrcRefused(n.ERR_TOOMANYTARGETS, echo(targets[MAX_TARGETS]), "Too many targets")
    return targets


# --- TAGMSG --------------------------------------------------------------------------------------------


@command("TAGMSG", spec="IRCv3 message-tags")
async def tagmsg(session: IrcSession, line: Line) -> None:
    """TAGMSG <target>: reactions become events, typing is told, other tags go to live sessions alone."""
    if "message-tags" not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "TAGMSG", "Ask for the message-tags capability first")
    for target in _targets(session, line):
        try:
            await _tag(session, line, target)
        except (Refused, IrcRefused) as refused:
            _refuse(session, refused, "TAGMSG", target)


async def _tag(session: IrcSession, line: Line, target: str) -> None:
    if target.startswith("#"):
        room_id = await session.room_named(target)
        user_id = None
    else:
        user_id = await _recipient(session, target)
        room_id = await _direct_room(session, user_id)
    reply = reply_target(line.tags)
    reaction, undone = line.tags.get("+draft/react"), line.tags.get("+draft/unreact")
    if (reaction or undone) and not REPLY_TAGS & line.tags.keys():
        text = "A reaction needs +reply with the msgid of a message"
        raise Failed("INVALID_PARAMS", echo(target), text=text)
    if reply is not None and reaction:
        relation: JsonObject = {"rel_type": "m.annotation", "event_id": reply, "key": reaction}
        await session.do(
            SendEvent(
                actor=session.user_id,
                room_id=room_id,
                type="m.reaction",
                content={"m.relates_to": relation},
                origin=session.origin(),
            )
        )
        return
    if reply is not None and undone:
        await _unreact(session, room_id, EventId(reply), undone)
        return
    typing = line.tags.get("+typing") or line.tags.get("+draft/typing")
    if typing:
        await _type(session, room_id, typing)
    _relay_tags(session, line, room_id, user_id)


async def _unreact(session: IrcSession, room_id: RoomId, about: EventId, key: str) -> None:
    """+draft/unreact redacts one's own annotation.  spec: docs/mapping.md 11.5"""
    page = await session.reader.history(
        HistoryQuery(
            room_id=room_id,
            viewer=session.user_id,
            direction=Direction.BACKWARD,
            types=("m.reaction",),
            senders=(session.user_id,),
            limit=100,
            only_here=True,
        )
    )
    wanted: JsonObject = {"rel_type": "m.annotation", "event_id": about, "key": key}
    for item in page.items:
        if item.event.content.get("m.relates_to") == wanted:
            event_id = item.event.event_id
            await session.do(Redact(actor=session.user_id, room_id=room_id, event_id=event_id, origin=session.origin()))
            return
    raise Failed("UNKNOWN_MSGID", about, text="You have not reacted so to that message")


async def _type(session: IrcSession, room_id: RoomId, state: str) -> None:
    """spec: docs/mapping.md 13.1: active counts 6 s, paused 30 s."""
    seconds = {"active": 6, "paused": 30}.get(state, 0)
    await session.do(SetTyping(actor=session.user_id, room_id=room_id, typing=seconds > 0, timeout_ms=seconds * 1000))


def _relay_tags(session: IrcSession, line: Line, room_id: RoomId, user_id: UserId | None) -> None:
    """Tags without a meaning in the middle go to those who are here now.  spec: docs/mapping.md 10.0

    That somebody types has gone through the middle already: only the echo says it again.
    """
    echoed = safe_client_tags(line.tags.items())
    tags = tuple(tag for tag in echoed if tag[0] not in TYPING_TAGS)
    channel = session.network.channels.get(room_id)
    if channel is None:
        return
    if session.user_id not in channel.room.joined():
        raise Refused(Refusal.NOT_JOINED)
    if not channel.room.may_speak(session.user_id):
        raise Refused(Refusal.CANNOT_SPEAK)
    ts_ms, who = session.network.now_ms(), session.names.who(session.user_id)

    def tagged(target: str, client_tags: tuple[tuple[str, str], ...]) -> Outgoing:
        body = f":{session.mask} TAGMSG {target}"
        return Outgoing([body], ts_ms=ts_ms, who=who, client_tags=client_tags, requires=int(Audience.TAGS))

    to = channel.name if user_id is None else session.names.nick(user_id)
    if "echo-message" in session.caps:
        session.own(tagged(to, echoed))
    if echoed and not tags:
        return
    out = tagged(to, tags)
    for other in list(channel.sessions.values()):
        if other is session and user_id != session.user_id:
            continue
        if not session.reader.blocks(other.user_id, session.user_id):
            other.tell(out)
