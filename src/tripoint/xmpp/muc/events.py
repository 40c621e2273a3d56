"""What each change of a room looks like to those who are in it by XMPP: committed event in, stanzas out.

Every event type that has a form in a MUC has one function; what has none, and no text, says nothing (docs/mapping.md
10.12). Each change is rendered once and told to all. Who is there, and who hears, is view.py.
spec: XEP-0045 7.4, 7.6, 7.14, 8-10; XEP-0085; docs/mapping.md 2.8, 5, 7.6, 8.1, 9, 10, 11, 13.1, 19.3.
"""

from collections.abc import Callable, Iterable
from typing import Final

from tripoint.core.attachment import attachment_in
from tripoint.core.event import Event
from tripoint.core.ids import EventId, UserId
from tripoint.core.in_words import SPOKEN_TYPES
from tripoint.core.json_view import object_at, text_at
from tripoint.core.sealed import BARE
from tripoint.rooms.changes import EventCommitted, PassedOn, RoomClosed, TypingChanged
from tripoint.rooms.commands import Secret
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.listing import DENIED_NOTE
from tripoint.rooms.refusals import Refusal
from tripoint.rooms.settings import FOREIGN, LIMITS, MENTIONS, SLOW, TLS_ONLY, tls_only
from tripoint.xmpp.corrections import replacing
from tripoint.xmpp.messages import caption_of, inside_of
from tripoint.xmpp.muc.affiliations import listable_users
from tripoint.xmpp.muc.reactions import tell_reaction
from tripoint.xmpp.muc.registering import tell_knock
from tripoint.xmpp.muc.retraction import id_told, retraction, tell_redaction, tombstone
from tripoint.xmpp.muc.view import GONE, MucView, Occupant, Visit
from tripoint.xmpp.projection import Standing, is_public
from tripoint.xmpp.reactions import REACTION, is_word, reacted_to, reactions_xml
from tripoint.xmpp.related import Related
from tripoint.xmpp.render import Shared, delay, item, muc_user, room_message, room_presence, stanza_id
from tripoint.xmpp.replies import Answer, Find, among_recent, answer_of
from tripoint.xmpp.stanza_facts import facts_in
from tripoint.xmpp.tables import CHAT_STATES_NS, CLIENT_NS, MUC_USER_NS, Status
from tripoint.xmpp.wire import escape_attribute, escape_text

# docs/mapping.md 5: older than this when it is delivered, a message says when it was sent.
LATE_MS: Final = 30_000
# A client changes a few at once, each told by itself, as every client understands it; of those beyond, as of whole
# lists, many are told together.
MAX_TOLD_ALONE: Final = 20
MAX_ITEMS: Final = 100
_OF_AFFILIATIONS: Final = frozenset({"m.room.member", "m.room.power_levels", "m.room.join_rules"})
# What is reflected to somebody whom nobody else hears.
_SHOWN_ALONE: Final = frozenset({"m.room.message", "m.sticker", "m.room.encrypted", BARE})


def tell_event(view: MucView, change: EventCommitted) -> None:
    """Everything that is told of an event, to everybody who is there."""
    if change.only_for is not None:
        if change.event.type in _SHOWN_ALONE:
            with view.unheard_by(frozenset(visit.session.user_id for visit in view.visits()) - {change.only_for}):
                _said(view, change)
        return
    if change.position <= view.position:
        return  # the room was read when this was in it already
    view.position = change.position
    event = change.event
    tell = _FORMS.get(event.type)
    if event.is_state:
        if event.type in _OF_AFFILIATIONS:
            view.affiliations.look(view.room, _touched(view, change))
        if tell is not None:
            tell(view, change)
        if event.type in _OF_AFFILIATIONS:
            tell_affiliations(view)
        return
    with view.unheard_from(event.sender):
        (tell or _said)(view, change)


# -- talk


def _said(view: MucView, change: EventCommitted) -> None:
    event = change.event
    url_of = view.doors.url_of(event.event_id)
    inside = inside_of(event.content, view.naming, _answer(view, event), url_of, whole=False, calls=view.calls)
    if inside is None:
        return
    who = view.appear(event.sender)
    view.typing.discard(event.sender)
    its_id = id_told(change)
    late = view.now_ms() - event.origin_server_ts > LATE_MS
    _tell_said(view, change, _message(view, who.jid, who.id_xml, event, its_id, inside, late=late))
    caption = caption_of(event.content, view.naming)
    if caption is not None:
        view.tell(room_message(who.jid, caption + who.id_xml, f"{its_id}-caption"))


def _tell_said(view: MucView, change: EventCommitted, shared: Shared) -> None:
    """To everybody. Who pasted a file is shown the address that he pasted, as he has it on his screen.

    spec: XEP-0045 7.4: what was said is reflected; clients that find another address beside theirs show both.
    """
    origin = change.origin
    attachment = attachment_in(change.event.content) if origin is not None else None
    if origin is not None and attachment is not None:
        saying = (one for one in view.visits() if one.session.id == origin.session and one.pasted is not None)
        visit, url = next(saying, None), view.doors.url_of(change.event.event_id)(attachment)
        if visit is not None and visit.pasted is not None and url is not None:
            given, his = escape_attribute(url).encode(), escape_attribute(visit.pasted).encode()
            view.tell_echo(shared, visit, Shared(shared.head, shared.tail.replace(given, his)))
            return
    view.tell(shared)


def _answer(view: MucView, event: Event, find: Find | None = None) -> Answer | None:
    """What a message answers. docs/mapping.md 11.6"""

    def who(answered: Event) -> tuple[str, str]:
        nick = view.nick_of(answered.sender)
        return f"{view.jid}/{nick}", nick

    return answer_of(event.content, find or among_recent(view.room), who, by_event=True)


def _message(
    view: MucView, from_jid: str, id_xml: str, event: Event, its_id: str, inside: str, *, late: bool
) -> Shared:
    xml = inside + replacing(view.room, event) + stanza_id(view.jid, event.event_id) + id_xml
    if late:
        xml += delay(view.jid, event.origin_server_ts)
    return room_message(from_jid, xml, its_id, attributes=facts_in(event.content).attributes)


def _of_sender(view: MucView, event: Event, its_id: str, inside: str, *, late: bool) -> Shared:
    """A message of somebody who may have left since."""
    from_jid = f"{view.jid}/{view.nick_of(event.sender)}"
    return _message(view, from_jid, view.id_xml(event.sender), event, its_id, inside, late=late)


def history_message(view: MucView, entry: HistoryItem) -> Shared | None:
    """A message as history shows it; None for one that says nothing. spec: XEP-0045 7.2.13"""
    event = entry.event
    url_of = view.doors.url_of(event.event_id)
    inside = inside_of(event.content, view.naming, _answer(view, event), url_of, calls=view.calls)
    if inside is None:
        return None
    return _of_sender(view, event, entry.token or event.event_id, inside, late=True)


def forwarded_message(view: MucView, entry: HistoryItem) -> str | None:
    """A message that somebody is shown who is not in the room: as it was told to those who are. spec: XEP-0452 3.2"""
    event = entry.event
    url_of = view.doors.url_of(event.event_id)
    inside = inside_of(event.content, view.naming, _answer(view, event), url_of, calls=view.calls)
    if inside is None:
        return None
    return _in_archive(_of_sender(view, event, entry.token or event.event_id, inside, late=False))


def archived_message(view: MucView, entry: HistoryItem, related: Related) -> str | None:
    """An event as the archive forwards it: as it was told live, and who its writer is; None if it says nothing.

    What is gone has a tombstone, and what took it away is there too. A reaction is the whole set that its writer has
    now. When it was said stands beside it, in the <forwarded/>.
    spec: XEP-0313 6.1.2: no `to`; the writer's JID in muc#user; XEP-0424 4; docs/mapping.md 11.11
    """
    event = entry.event
    its_id = entry.token or event.event_id
    if event.type == "m.room.redaction":
        gone = None if event.redacts is None else related.find(event.redacts)
        if gone is None or gone.event.type not in (*SPOKEN_TYPES, BARE):
            return None
        return _in_archive(retraction(view, event, gone.event, its_id))
    if entry.redacted_because is not None:
        if event.type not in (*SPOKEN_TYPES, BARE):
            return None
        because = related.find(entry.redacted_because.event_id)
        by = entry.redacted_because.event_id if because is None or because.token is None else because.token
        inside: str | None = tombstone(view, event, entry.redacted_because, by)
    elif event.type == "m.room.topic":
        inside = f"<subject>{escape_text(text_at(event.content, 'topic') or '')}</subject>"
    elif event.type == REACTION:
        about = reacted_to(event)
        inside = None
        if about is not None and not is_word(about[1]):
            inside = reactions_xml(about[0], related.reactions(event.sender, about[0]))
    elif event.is_state:
        return None
    else:
        url_of = view.doors.url_of(event.event_id)
        inside = inside_of(event.content, view.naming, _answer(view, event, related.find), url_of, calls=view.calls)
    if inside is None:
        return None
    inside += muc_user(item(view.standing_of(event.sender), jid=view.bare_jid(event.sender)))
    return _in_archive(_of_sender(view, event, its_id, inside, late=False))


def _in_archive(shared: Shared) -> str:
    return f"<message xmlns='{CLIENT_NS}'" + shared.to(b"").decode().removeprefix("<message")


def subject(view: MucView) -> Shared:
    """The subject as it is shown on entry. spec: XEP-0045 7.2.15"""
    event = view.room.topic_event
    if event is None:
        return room_message(view.jid, "<subject></subject>")
    return _subject_of(view, event, event.event_id, late=True)


def _subject_of(view: MucView, event: Event, its_id: str, *, late: bool) -> Shared:
    text = text_at(event.content, "topic") or ""
    return _of_sender(view, event, its_id, f"<subject>{escape_text(text)}</subject>", late=late)


def subject_again(visit: Visit, text: str, its_id: str | None, event_id: EventId) -> Shared:
    """The answer to who sets the subject that he has set before."""
    xml = f"<subject>{escape_text(text)}</subject>" + stanza_id(visit.view.jid, event_id) + visit.occupant.id_xml
    return room_message(visit.occupant.jid, xml, its_id or event_id)


def _topic(view: MucView, change: EventCommitted) -> None:
    view.appear(change.event.sender)
    view.tell(_subject_of(view, change.event, id_told(change), late=False))


def tell_passed_on(view: MucView, change: PassedOn) -> None:
    """A message without a text that nobody keeps. spec: XEP-0045 7.4; XEP-0334 4.2; docs/mapping.md 10.0"""
    who = view.appear(change.sender)
    with view.unheard_from(change.sender):
        view.tell(room_message(who.jid, change.payload + who.id_xml, change.token))


def tell_typing(view: MucView, change: TypingChanged) -> None:
    """Who types now, as chat states. spec: XEP-0085 5.5

    A message says by itself that its writer has stopped, so nobody is told a second time.
    """
    for user_id in change.user_ids - change.before:
        view.typing.add(user_id)
        _tell_state(view, user_id, "composing")
    for user_id in change.before - change.user_ids:
        if user_id in view.typing:
            view.typing.discard(user_id)
            _tell_state(view, user_id, "active")


def _tell_state(view: MucView, user_id: UserId, state: str) -> None:
    who = view.occupants.get(user_id)
    if who is None or who.hidden:
        return
    with view.unheard_from(user_id):
        # spec: XEP-0045 7.4: a message that is reflected has the id that its sender gave it
        its_id, said = view.states_said.pop(user_id, (None, state))
        if (said == "composing") is (state == "composing"):
            state = said
        view.tell(room_message(who.jid, f"<{state} xmlns='{CHAT_STATES_NS}'/>" + who.id_xml, its_id))


# -- the room


def _configured(view: MucView, change: EventCommitted) -> None:
    tell_configured(view, change.event.event_id)


def tell_configured(view: MucView, its_id: str | None) -> None:
    """The configuration is another one. spec: XEP-0045 10.2.1"""
    x = f"<x xmlns='{MUC_USER_NS}'><status code='{Status.CONFIGURATION_CHANGED.value}'/></x>"
    view.tell(room_message(view.jid, x, its_id))


def _join_rules(view: MucView, change: EventCommitted) -> None:
    """A change of the configuration, and of who counts as a member. docs/mapping.md 7"""
    _configured(view, change)
    view.take_ranks()


def _ranks(view: MucView, change: EventCommitted) -> None:
    if view.take_settings():
        tell_configured(view, change.event.event_id)
    view.take_ranks()


def _touched(view: MucView, change: EventCommitted) -> Iterable[UserId]:
    """Whose affiliation can be another one by this."""
    event = change.event
    if event.type == "m.room.member":
        return (UserId(event.state_key or ""),)
    if event.type == "m.room.power_levels" and change.replaced is not None:
        before, now = change.replaced.content, event.content
        if {**before, "users": None} == {**now, "users": None}:
            levels, new = object_at(before, "users"), object_at(now, "users")
            return [UserId(one) for one in {**levels, **new} if levels.get(one) != new.get(one)]
    return {*listable_users(view.room), *view.affiliations.items()}


def tell_ranks(view: MucView) -> None:
    """Everybody may be something else now."""
    view.affiliations.look(view.room, {*listable_users(view.room), *view.affiliations.items()})
    view.take_ranks()
    tell_affiliations(view)


def tell_affiliations(view: MucView) -> None:
    """Who is what now of whom no presence told it. spec: XEP-0045 9.3, 10.3, 10.6, 10.7; XEP-0463 5.2.2"""
    waiting = view.affiliations.waiting()
    single, others = waiting[:MAX_TOLD_ALONE], waiting[MAX_TOLD_ALONE:]
    groups = [[one] for one in single] + [others[at : at + MAX_ITEMS] for at in range(0, len(others), MAX_ITEMS)]
    for group in groups:
        version = view.affiliations.take(*[change.user_id for change in group])
        items = "".join(
            [item(Standing(change.affiliation, GONE), jid=view.bare_jid(change.user_id)) for change in group]
        )
        view.tell(room_message(view.jid, muc_user(items, version=version), kind="normal"))


def _denied(view: MucView, change: EventCommitted) -> None:
    """Members of servers that are denied from now on go from the list, those of others are back. mapping 9.12"""
    _configured(view, change)
    for who in view.take_denied():
        about = item(Standing(who.standing.affiliation, GONE), jid=view.shown_jid(who), reason=DENIED_NOTE)
        _tell_gone(view, who, about, ())
        view.remove(who.user_id)


def _encrypted(view: MucView, change: EventCommitted) -> None:
    tell_encrypted(view)


def tell_encrypted(view: MucView) -> None:
    """The room became end-to-end encrypted: visits end, memberships stay. docs/mapping.md 19.3"""
    _see_out(view, view.visits(), "This room is now end-to-end encrypted: open it in a Matrix client")


def _for_tls_alone(view: MucView, change: EventCommitted) -> None:
    _configured(view, change)
    tell_tls_only(view)


def tell_tls_only(view: MucView) -> None:
    """Visits without TLS end where the room is for TLS alone; memberships stay. docs/mapping.md 8.10"""
    if tls_only(view.room):
        _see_out(view, [visit for visit in view.visits() if not visit.session.secure], Refusal.TLS_NEEDED.value)


def _see_out(view: MucView, visits: list[Visit], why: str) -> None:
    for visit in visits:
        who = visit.occupant
        about = item(Standing(who.standing.affiliation, GONE), jid=visit.session.full, reason=why)
        x = muc_user(about, (Status.SELF_PRESENCE,))
        visit.session.send_shared(room_presence(who.jid, x + who.id_xml, unavailable=True))
        view.forget_visit(visit)


def tell_closed(view: MucView, closed: RoomClosed, venue: str | None) -> None:
    """The room is being closed: one unavailable presence to everybody who is there. spec: XEP-0045 10.9"""
    for visit in view.visits():
        tell_destroyed(view, visit, closed.reason, venue, closed.venue_password)


def tell_destroyed(
    view: MucView, visit: Visit, reason: str | None, venue: str | None, password: Secret | None = None
) -> None:
    """For one session the room is gone, and where it went. spec: XEP-0045 10.9"""
    at = "" if venue is None else f" jid='{escape_attribute(venue)}'"
    why = "" if password is None else f"<password>{escape_text(password.value)}</password>"
    why += f"<reason>{escape_text(reason)}</reason>" if reason else ""
    destroy = f"<destroy{at}>{why}</destroy>" if why else f"<destroy{at}/>"
    x = muc_user(item(Standing(GONE, GONE)) + destroy, (Status.SELF_PRESENCE,))
    visit.session.send_shared(room_presence(visit.occupant.jid, x, unavailable=True))
    view.forget_visit(visit)


# -- members


def _member(view: MucView, change: EventCommitted) -> None:
    event = change.event
    if membership_of(event) == "knock":
        knocker = view.room.member(UserId(event.state_key or ""))
        if knocker is not None and knocker.event is event:
            tell_knock(view, knocker)
    elif membership_of(change.replaced) == "invite" and membership_of(event) == "leave":
        _declined(view, change)
    by = None if event.sender == event.state_key else event.sender
    tell_member(view, change.replaced, event, by)


def _declined(view: MucView, change: EventCommitted) -> None:
    """An invitation is given back: who invited hears so from the room. spec: XEP-0045 7.8.2; docs/mapping.md 9.10"""
    event, invitation = change.event, change.replaced
    if invitation is None or event.sender != event.state_key:
        return
    reason = text_at(event.content, "reason")
    why = f"<reason>{escape_text(reason)}</reason>" if reason else ""
    who = escape_attribute(view.bare_jid(event.sender))
    x = f"<x xmlns='{MUC_USER_NS}'><decline from='{who}'>{why}</decline></x>"
    told = room_message(view.jid, x, event.event_id, kind="normal")
    for visit in view.visits():
        if visit.session.user_id == invitation.sender:
            visit.session.send_shared(told)


def tell_member(view: MucView, replaced: Event | None, event: Event | None, by: UserId | None) -> None:
    """A member event took the place of another. `by`: who has done it, None for the user himself or nobody."""
    some = event or replaced
    assert some is not None
    user_id = UserId(some.state_key or "")
    before, now = membership_of(replaced), membership_of(event)
    if event is not None and now == "join":
        who = view.occupants.get(user_id)
        if who is None:
            view.came(user_id)
        elif before == "join":
            _renamed(view, who, text_at(event.content, "displayname"))
    elif before == "join":
        _removed(view, user_id, now, event, by)


def membership_of(event: Event | None) -> str:
    """What a member event says; ``leave`` where there is none."""
    return (text_at(event.content, "membership") if event is not None else None) or "leave"


def _renamed(view: MucView, who: Occupant, displayname: str | None) -> None:
    """spec: XEP-0045 7.6: unavailable from the old nick with 303, available from the new one."""
    nick = view.nicks.assign(who.user_id, displayname)
    if nick == who.nick:
        return
    about = item(who.standing, jid=view.shown_jid(who), nick=nick)
    _tell_gone(view, who, about, (Status.NEW_NICK,))
    view.rename(who, nick)
    view.refresh(who, always=True)


def _removed(view: MucView, user_id: UserId, membership: str, event: Event | None, by: UserId | None) -> None:
    """Left, kicked or banned. spec: XEP-0045 7.14, 8.2, 9.1; docs/mapping.md 9.1, 9.7"""
    if view.room.locked and not view.room.joined_count():
        # spec: XEP-0045 10.1.3: a room that was never opened ends with who made it
        reason = text_at(event.content, "reason") if event is not None else None
        tell_closed(view, RoomClosed(view.room.room_id, reason, None), None)
    who = view.remove(user_id)
    if who is None:
        return
    reason = text_at(event.content, "reason") if event is not None else None
    banned = membership == "ban"
    standing = Standing("outcast" if banned else GONE, GONE)
    if banned or event is None or event.sender != user_id:
        codes: tuple[Status, ...] = (Status.BANNED if banned else Status.KICKED,)
        if not banned and not is_public(view.room):
            # Who is removed from a members-only room is no member any more. spec: XEP-0045 9.4
            codes = (Status.KICKED, Status.AFFILIATION_REMOVED)
        actor = None if by is None else view.nick_of(by)
        about = item(standing, jid=view.shown_jid(who), actor=actor, reason=reason)
        _tell_gone(view, who, about, codes)
    else:
        status = f"<status>{escape_text(reason)}</status>" if reason else ""
        _tell_gone(view, who, item(standing, jid=view.shown_jid(who)), (), status)
    for visit in list(who.visits):
        waiting = visit.waiting
        view.forget_visit(visit)
        # Kicked while the history was being read: he still has to hear that he is out.
        for shared in (waiting or ())[-1:]:
            visit.session.send_shared(shared)


def _tell_gone(view: MucView, who: Occupant, about: str, codes: tuple[Status, ...], status: str = "") -> None:
    """Unavailable presence from his present nick; his own visits are told that it is about them (110)."""
    if who.hidden:
        return
    own = tuple(sorted((Status.SELF_PRESENCE, *codes), key=lambda code: code.value))
    version = view.affiliations.take(who.user_id)
    view.tell_of(
        who,
        room_presence(who.jid, status + muc_user(about, codes, version) + who.id_xml, unavailable=True),
        room_presence(who.jid, status + muc_user(about, own, version) + who.id_xml, unavailable=True),
    )


def _taken_back(view: MucView, change: EventCommitted) -> None:
    if change.redacted is not None and change.redacted.type == REACTION:
        tell_reaction(view, change)
    else:
        tell_redaction(view, change)


_FORMS: Final[dict[str, Callable[[MucView, EventCommitted], None]]] = {
    REACTION: tell_reaction,
    FOREIGN: _configured,
    LIMITS: _configured,
    MENTIONS: _configured,
    TLS_ONLY: _for_tls_alone,
    SLOW: _configured,
    "m.room.avatar": _configured,
    "m.room.canonical_alias": _configured,
    "m.room.encryption": _encrypted,
    "m.room.guest_access": _configured,
    "m.room.history_visibility": _configured,
    "m.room.join_rules": _join_rules,
    "m.room.member": _member,
    "m.room.message": _said,
    "m.room.name": _configured,
    "m.room.power_levels": _ranks,
    "m.room.redaction": _taken_back,
    "m.room.server_acl": _denied,
    "m.room.topic": _topic,
}
