"""A room was replaced: those who are in it by XMPP are in the one that took its place, under the same address.

Clients keep their own list of who is there, so they are told the way from the old list to the new one, then that the
room is configured otherwise (104). Who does not get in is told that the old room is gone, and where it went.
spec: docs/mapping.md 21.4; XEP-0045 7.6, 10.2.1, 10.9. Who goes over is decided in rooms/following.py.
"""

from collections.abc import Sequence
from typing import Final

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.chain import Chain, open_chain
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal
from tripoint.rooms.settings import tls_only
from tripoint.rooms.succession import replacement_of
from tripoint.xmpp.muc.events import subject, tell_destroyed, tell_ranks
from tripoint.xmpp.muc.view import GONE, MucView, Occupant, Visit
from tripoint.xmpp.projection import Standing
from tripoint.xmpp.render import Shared, item, muc_user, room_message, room_presence
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import MUC_USER_NS, Status

UPGRADED: Final = "This room was upgraded"
# State by which a room that was replaced is closed.
CLOSING: Final = frozenset({"m.room.power_levels", "m.room.canonical_alias"})


def is_left(view: MucView) -> bool:
    """Whether another room has taken the place of this one, or it is being found out."""
    named = replacement_of(view.room)
    return named is not None and view.stays_before != named


def stay(view: MucView, replacement: RoomId) -> None:
    """Nobody goes over to the room that this one leads to: what was not told meanwhile is told now."""
    if view.stays_before != replacement:
        view.stays_before = replacement
        tell_ranks(view)


def go_over(old: MucView, new: MucView) -> None:
    """Every session that is in `old`, and whose user is a member of the new room, is in `new` from now on."""
    going = [visit for visit in old.visits() if new.room.membership(visit.session.user_id) == "join"]
    for visit in [visit for visit in going if not _may_see(new.room, visit)]:
        going.remove(visit)
        why = Refusal.ENCRYPTED.value if new.room.encrypted else Refusal.TLS_NEEDED.value
        turn_away(old, (visit,), f"{UPGRADED}: {why}", new.jid)
    there = new.visits()
    before = {who.user_id: _Seen(who) for who in old.occupants.values() if not who.hidden}
    moved = [(visit, _carry(old, new, visit)) for visit in going]
    # Those who went over earlier see who has come, and how they are present.
    for who in dict.fromkeys(visit.occupant for _, visit in moved):
        presence = new.present_anew(who)
        for visit in there:
            _send(visit, presence)
    for _, visit in moved:
        for shared in (*_differences(new, visit, before), *_configuration(old, new)):
            visit.session.send_shared(shared)


def _may_see(room: RoomView, visit: Visit) -> bool:
    return not room.encrypted and (visit.session.secure or not tls_only(room))


class _Seen:
    """An occupant as those in the old room saw him."""

    __slots__ = ("id_xml", "jid", "nick", "presence")

    def __init__(self, who: Occupant) -> None:
        self.id_xml, self.jid, self.nick, self.presence = who.id_xml, who.jid, who.nick, who.presence


def _carry(old: MucView, new: MucView, visit: Visit) -> Visit:
    """One session leaves one view and is in the other; what it was still to hear of the old room it hears now."""
    waiting = visit.waiting
    old.forget_visit(visit)
    for shared in waiting or ():
        visit.session.send_shared(shared)
    return new.take_over(visit.session, visit.inside)


def _differences(new: MucView, visit: Visit, before: dict[UserId, _Seen]) -> Sequence[Shared]:
    """Who is gone or called otherwise, who has come or is present otherwise, and last the session's own presence."""
    out: list[Shared] = []
    now = {user_id: who for user_id, who in new.occupants.items() if not who.hidden}
    for user_id, seen in before.items():
        codes: tuple[Status, ...] = ()
        if user_id not in now:
            about = item(Standing(GONE, GONE))
        elif (nick := now[user_id].nick) != seen.nick:
            about, codes = item(now[user_id].standing, nick=nick), (Status.NEW_NICK,)
        else:
            continue
        if user_id == visit.occupant.user_id:
            codes = (*codes, Status.SELF_PRESENCE)
        out.append(room_presence(seen.jid, muc_user(about, codes) + seen.id_xml, unavailable=True))
    for user_id, who in now.items():
        known = before.get(user_id)
        if who is not visit.occupant and (known is None or known.presence != who.presence):
            out.append(who.presence)
    out.append(new.own_presence(visit.occupant))
    return out


def _configuration(old: MucView, new: MucView) -> Sequence[Shared]:
    x = f"<x xmlns='{MUC_USER_NS}'><status code='{Status.CONFIGURATION_CHANGED.value}'/></x>"
    changed = (old.room.topic or "") != (new.room.topic or "")
    return [room_message(new.jid, x), *([subject(new)] if changed else [])]


def _send(visit: Visit, shared: Shared) -> None:
    if visit.waiting is None:
        visit.session.send_shared(shared)
    else:
        visit.waiting.append(shared)


async def chain_of(session: XmppSession, room: RoomView) -> Chain:
    """The history of a room for one session: that of the rooms whose place it has taken with it."""

    def is_open(older: RoomView) -> bool:
        return not older.encrypted and (session.secure or not tls_only(older))

    return await open_chain(session.doors.reader, room.room_id, session.user_id, is_open)


def turn_away(view: MucView, visits: Sequence[Visit], reason: str, venue: str | None) -> None:
    """These do not get into the new room: for them the old one is gone. spec: XEP-0045 10.9"""
    for visit in visits:
        tell_destroyed(view, visit, reason, venue)
    for who in dict.fromkeys(visit.occupant for visit in visits):
        if view.occupants.get(who.user_id) is who:
            view.refresh(who)
