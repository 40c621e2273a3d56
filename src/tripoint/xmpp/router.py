"""What happens to a stanza: its address decides who answers, the registry which handler.

spec: RFC6120 8.1, 8.2, 10.3-10.5; RFC6121 8. Other domains are components and other servers (c2s/abroad.py); without a
way to them they are answered with remote-server-not-found. Handlers are declared in c2s/ and muc/; importing those
packages fills the table.
"""

from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.blocked import apart, check_not_blocked
from tripoint.xmpp.jid import Domains, InvalidJid, Jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import IQS, MESSAGES, PRESENCES, At
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import STANZA_ID_NS
from tripoint.xmpp.wire import Element, parse_fragment, render

_MESSAGE_TYPES = frozenset({"chat", "error", "groupchat", "headline", "normal"})
_PRESENCE_TYPES = frozenset(
    {"", "error", "probe", "subscribe", "subscribed", "unavailable", "unsubscribe", "unsubscribed"}
)


async def dispatch(session: XmppSession, stanza: Element) -> None:
    """Hand a stanza of a client to its handler. Raises Problem, Refused or AccountRefused for the error reply."""
    to = stanza.attributes.get("to")
    if to is None:
        # spec: RFC6120 10.3: without a 'to' it is for the account itself
        jid, place = session.jid.bare, At.ACCOUNT
    else:
        try:
            jid = parse_jid(to)
        except InvalidJid as error:
            # The answer cannot come from an address that is none: without one it comes from the server.
            del stanza.attributes["to"]
            raise Problem("jid-malformed", f"The address is not valid: {error}") from None
        place = place_of(jid, session.jid, session.doors.domains)
        if place is At.ABROAD and _is_served_here(session, jid):
            place = At.OCCUPANT if jid.resource else At.ROOM
        abroad = session.doors.abroad
        if place is At.ABROAD and session.account.guest:
            # spec: XEP-0175 3 (2)
            raise Problem("not-allowed", "Guests are in rooms of this server alone: log in with an account")
        if place is At.ABROAD and (abroad is None or not abroad.reaches(jid.domain)):
            _unreachable(stanza)
            return
        check_not_blocked(session, stanza, jid)
    if stanza.name == "message":
        await _message(session, stanza, jid, place)
    elif stanza.name == "presence":
        await _presence(session, stanza, jid, place)
    else:
        await _iq(session, stanza, jid, place)


def _is_served_here(session: XmppSession, jid: Jid) -> bool:
    """A room of another server that this one takes part in as a Matrix server. docs/mapping.md 23.4

    Who entered it before that was known is there by XMPP until he leaves.
    """
    known = jid.local and session.doors.domains.server_of_rooms(jid.domain) is not None
    return bool(known) and not session.foreign and str(jid.bare) not in session.rooms_abroad


def place_of(jid: Jid, own: Jid, domains: Domains) -> At:
    """Which kind of address this is."""
    if jid.domain == domains.rooms:
        if not jid.local:
            return At.ROOMS
        return At.OCCUPANT if jid.resource else At.ROOM
    if jid.domain == domains.server:
        if not jid.local:
            return At.SERVER
        return At.ACCOUNT if jid == own.bare else At.USER
    if jid.domain == domains.gateway:
        return At.REMOTE if jid.local else At.GATEWAY
    return At.ABROAD


def _unreachable(stanza: Element) -> None:
    kind = stanza.get("type")
    if stanza.name == "presence" and kind not in (None, "subscribe"):
        return
    if kind not in ("error", "result"):
        raise Problem("remote-server-not-found", "This server does not talk to other XMPP servers")


async def _message(session: XmppSession, stanza: Element, jid: Jid, place: At) -> None:
    kind = stanza.get("type") or "normal"
    # spec: RFC6121 5.2.2: an unknown type is normal
    drop_forged_ids(stanza, session.doors.domains)
    if len(stanza.children) > 1:
        await session.pep.displayed.assist(session, stanza, jid)
    entry = MESSAGES.get((kind if kind in _MESSAGE_TYPES else "normal", place))
    if entry is not None:
        await entry.handle(session, stanza, jid)
    elif kind != "error":
        raise Problem("service-unavailable", "Nobody takes messages of this type here")


async def _presence(session: XmppSession, stanza: Element, jid: Jid, place: At) -> None:
    kind = stanza.get("type") or ""
    if kind not in _PRESENCE_TYPES:
        # spec: RFC6121 4.7.1
        raise Problem("bad-request", "There is no such type of presence")
    entry = PRESENCES.get((kind, place))
    if entry is not None:
        await entry.handle(session, stanza, jid)
    elif kind in ("subscribe", ""):
        raise Problem("service-unavailable", "Nobody takes presence here")


async def _iq(session: XmppSession, stanza: Element, jid: Jid, place: At) -> None:
    kind = stanza.get("type")
    if stanza.get("id") is None or kind not in ("get", "set", "result", "error"):
        raise Problem("bad-request", "An IQ needs an id and a type of get, set, result or error")
    if place is At.USER and jid.resource:
        _iq_to_resource(session, stanza, jid)
        return
    if place is At.ABROAD:
        assert session.doors.abroad is not None  # dispatch() has looked
        original = Element(stanza.name, stanza.namespace, {**stanza.attributes, "from": session.full}, stanza.children)
        session.doors.abroad.send(stamped(stanza, session.full), session.doors.domains.server, jid, original)
        return
    if kind in ("result", "error"):
        if place is At.SERVER and session.muc.questions.answered(session.jid, stanza):
            return
        if place in (At.ACCOUNT, At.SERVER):
            session.pep.capabilities.answered(session, stanza)
        return
    payload = stanza.first()
    if payload is None or sum(1 for _ in stanza.elements()) != 1:
        # spec: RFC6120 8.2.3 rule 5
        raise Problem("bad-request", "A request holds exactly one element")
    entry = IQS.get((kind, payload.namespace, payload.name, place))
    if entry is None:
        # spec: RFC6120 8.4
        raise Problem("service-unavailable", "This is not offered here")
    if session.account.guest and not entry.guests:
        raise Problem("not-allowed", "This is not for guests: log in with an account")
    answer = await entry.handle(session, stanza, jid)
    if answer is not None:
        session.answer(stanza, answer)


def _iq_to_resource(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """spec: RFC6121 8.5.3: to that resource, if it shares presence with the sender; answers always."""
    target = session.users.session(str(jid))
    request = stanza.get("type") in ("get", "set")
    blocks = session.doors.reader.blocks
    if target is not None and blocks(session.user_id, target.user_id) and request:
        raise Refused(Refusal.BLOCKED)
    if target is not None and (blocks(target.user_id, session.user_id) or apart(target, session)):
        target = None
    if target is None or (request and not session.users.shares_presence(target, session)):
        if request:
            raise Problem("service-unavailable", "There is no such resource, or it does not share its presence")
        return
    target.send(stamped(stanza, session.full))


def return_requests(session: XmppSession) -> None:
    """A session is over: requests that it was sent and may not have had are answered for it. spec: RFC6121 8.5.3.2.3,
    XEP-0198 4"""
    for sent in () if session.managed is None else session.managed.unacked.kept():
        if not sent.data.startswith(b"<iq"):
            continue
        (request,) = parse_fragment(sent.data.decode())
        asking = session.users.session(request.get("from") or "")
        if asking is not None and asking is not session and request.get("type") in ("get", "set"):
            asking.refuse(request, Problem("recipient-unavailable", "They went away before they could answer"))


def drop_forged_ids(message: Element, domains: Domains) -> None:
    """Take out what says to be an id that an account or a room of this server has given. spec: XEP-0359 3 (2)"""
    for child in message.children:
        if type(child) is Element and child.name == "stanza-id":
            break
    else:
        return
    message.children = [one for one in message.children if isinstance(one, str) or not _is_forged(one, domains)]


def _is_forged(child: Element, domains: Domains) -> bool:
    if (child.name, child.namespace) != ("stanza-id", STANZA_ID_NS):
        return False
    try:
        return domains.has(parse_jid(child.get("by") or "").domain)
    except InvalidJid:
        return True


def stamped(stanza: Element, from_jid: str) -> bytes:
    """The stanza as the recipient gets it: `from` is who sent it. spec: RFC6120 8.1.2.1"""
    attributes = dict(stanza.attributes)
    attributes["from"] = from_jid
    return render(Element(stanza.name, stanza.namespace, attributes, stanza.children))
