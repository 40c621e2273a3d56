"""Ad-hoc commands: what has no protocol of its own on XMPP, offered as forms that any client can show.

A command is declared where it is written, with @adhoc; lists, information and dispatch are made from that. Each is
done in one go or with one form, and the server keeps nothing in between: what a form says is judged when it comes, and
a session id says itself for whom and for which command it was given.
spec: XEP-0050 2, 3; XEP-0004 3. Read next: muc/commands.py.
"""

import base64
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tripoint.xmpp.forms import form_fields, single
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.tables import ADHOC_NS, DATA_FORMS_NS, DISCO_INFO_NS, DISCO_ITEMS_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession

# The first part of a session id, which is random.
_NONCE_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Ask:
    """The command needs more: a form, whose fields are XML as field() makes it."""

    title: str
    fields: str


@dataclass(frozen=True, slots=True)
class Told:
    """The command is done. `text` says what was; `columns` and `rows` are a table to show, `fields` a form instead,
    whose fields are XML as field() makes it."""

    text: str = ""
    title: str = ""
    columns: Sequence[tuple[str, str]] = ()
    rows: Sequence[Sequence[str]] = ()
    fields: str = ""


Fields = Mapping[str, list[str]]
# `fields` is what the form says, None before there was one.
Handle = Callable[["XmppSession", Jid, Fields | None], Awaitable[Ask | Told]]


@dataclass(frozen=True, slots=True)
class AdhocEntry:
    """One command at one kind of address. `may`: who is offered it; others are told that it is not for them."""

    node: str
    name: str
    spec: str
    handle: Handle
    may: Callable[["XmppSession"], bool] = lambda _: True


_COMMANDS: Final[dict[tuple[str, At], AdhocEntry]] = {}
# What is offered besides, which differs from session to session.
Offer = Callable[["XmppSession"], Iterable[AdhocEntry]]
_OFFERS: Final[dict[At, list[Offer]]] = {}
_PLACES: Final = (At.SERVER, At.ROOM)
declare_feature(ADHOC_NS, at=_PLACES, spec="XEP-0050 2.1")


def adhoc(
    node: str, name: str, *, at: At, spec: str, may: Callable[["XmppSession"], bool] = lambda _: True
) -> Callable[[Handle], Handle]:
    """Declare a command."""

    def declare(handle: Handle) -> Handle:
        assert at in _PLACES, "commands are listed at these addresses alone"
        assert (node, at) not in _COMMANDS, f"two commands for {node}"
        _COMMANDS[node, at] = AdhocEntry(node, name, spec, handle, may)
        return handle

    return declare


def offers(at: At) -> Callable[[Offer], Offer]:
    """Declare a function that gives commands for a session."""

    def declare(offer: Offer) -> Offer:
        assert at in _PLACES, "commands are listed at these addresses alone"
        _OFFERS.setdefault(at, []).append(offer)
        return offer

    return declare


def _all(session: "XmppSession", place: At) -> dict[str, AdhocEntry]:
    """The commands of a place for a session, by their nodes."""
    declared = sorted(_COMMANDS.items(), key=lambda pair: pair[0][0])
    found = {node: entry for (node, at), entry in declared if at is place and entry.may(session)}
    for offer in _OFFERS.get(place, ()):
        found.update((entry.node, entry) for entry in offer(session))
    return found


def field(
    var: str, kind: str, label: str, value: str = "", options: Sequence[tuple[str, str]] = (), *, required: bool = False
) -> str:
    """A field of a form; `options` are (value, label). spec: XEP-0004 3.2"""
    return (
        f"<field var='{escape_attribute(var)}' type='{kind}' label='{escape_attribute(label)}'>"
        + ("<required/>" if required else "")
        + (f"<value>{escape_text(value)}</value>" if value else "")
        + "".join(
            f"<option label='{escape_attribute(shown)}'><value>{escape_text(one)}</value></option>"
            for one, shown in options
        )
        + "</field>"
    )


def one(fields: Fields, var: str) -> str:
    """What a field says, without the spaces around it; "" if it says nothing. Problem for several values."""
    return (single(fields, var) or "").strip()


# -- finding commands


def list_of(session: "XmppSession", place: At, jid: Jid) -> str:
    """The answer to disco#items on the node of all commands. spec: XEP-0050 2.2"""
    address = escape_attribute(str(jid))
    items = "".join(
        f"<item jid='{address}' node='{escape_attribute(entry.node)}' name='{escape_attribute(entry.name)}'/>"
        for entry in _all(session, place).values()
    )
    return f"<query xmlns='{DISCO_ITEMS_NS}' node='{ADHOC_NS}'>{items}</query>"


def node_info(session: "XmppSession", place: At, node: str) -> str | None:
    """The answer to disco#info on a command, or on the node of all; None for another node. spec: XEP-0050 2.2"""
    entry = _all(session, place).get(node)
    if node == ADHOC_NS:
        about = "<identity category='automation' type='command-list'/>"
    elif entry is not None:
        about = f"<identity category='automation' type='command-node' name='{escape_attribute(entry.name)}'/>"
        about += f"<feature var='{ADHOC_NS}'/><feature var='{DATA_FORMS_NS}'/>"
    else:
        return None
    return f"<query xmlns='{DISCO_INFO_NS}' node='{escape_attribute(node)}'>{about}</query>"


# -- carrying them out


@iq("set", ADHOC_NS, "command", at=(At.SERVER,), spec="XEP-0050 2.4")
async def at_server(session: "XmppSession", stanza: Element, jid: Jid) -> str:
    """A command of the server."""
    return await _execute(session, stanza, jid, At.SERVER)


@iq("set", ADHOC_NS, "command", at=(At.ROOM,), spec="XEP-0050 2.4")
async def at_room(session: "XmppSession", stanza: Element, jid: Jid) -> str:
    """A command of a room."""
    return await _execute(session, stanza, jid, At.ROOM)


async def _execute(session: "XmppSession", stanza: Element, jid: Jid, place: At) -> str:
    command = stanza.first()
    assert command is not None  # the router has looked
    node = command.get("node") or ""
    entry = _all(session, place).get(node)
    if entry is None and (node, place) in _COMMANDS:
        # spec: XEP-0050 4, table: the requester lacks the privileges
        raise Problem("forbidden", "This command is for administrators")
    if entry is None:
        # spec: XEP-0050 4, table: an unknown node
        raise Problem("item-not-found", "There is no such command here")
    action = command.get("action") or "execute"
    if action not in ("execute", "complete", "next", "prev", "cancel"):
        raise _bad("malformed-action", "There is no such action")
    about = f"{session.full}\0{jid}\0{node}"
    session_id = command.get("sessionid") or _session_id(session, about, secrets.token_urlsafe(12))
    if session_id != _session_id(session, about, session_id[:_NONCE_CHARS]):
        raise _bad("bad-sessionid", "This session id was not given to you for this command")
    if action == "cancel":
        return _command(entry, session_id, "canceled", "")
    if action == "prev":
        raise _bad("bad-action", "There is nothing to go back to")
    form = command.child("x", DATA_FORMS_NS)
    answer = await entry.handle(session, jid, None if form is None else _fields(form))
    if isinstance(answer, Ask):
        xml = (
            "<actions execute='complete'><complete/></actions>"
            f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>{escape_text(answer.title)}</title>{answer.fields}</x>"
        )
        return _command(entry, session_id, "executing", xml)
    note = f"<note type='info'>{escape_text(answer.text)}</note>" if answer.text else ""
    return _command(entry, session_id, "completed", note + _table(answer))


def _session_id(session: "XmppSession", about: str, nonce: str) -> str:
    """What stands for one execution of a command. spec: XEP-0050 3.3, 4.4"""
    proof = hmac.digest(session.doors.secret, f"adhoc\0{about}\0{nonce}".encode(), "sha256")
    return nonce + base64.urlsafe_b64encode(proof[:12]).decode()


def _fields(form: Element) -> dict[str, list[str]]:
    if form.get("type") != "submit":
        raise _bad("bad-payload", "A form of type submit is expected")
    return form_fields(form)


def _bad(condition: str, text: str) -> Problem:
    """spec: XEP-0050 4, "Possible Errors" """
    return Problem("bad-request", text, extra=f"<{condition} xmlns='{ADHOC_NS}'/>")


def _command(entry: AdhocEntry, session_id: str, status: str, inside: str) -> str:
    return (
        f"<command xmlns='{ADHOC_NS}' node='{escape_attribute(entry.node)}' "
        f"sessionid='{escape_attribute(session_id)}' status='{status}'>{inside}</command>"
    )


def _table(told: Told) -> str:
    """spec: XEP-0004 3.4"""
    if told.fields:
        return f"<x xmlns='{DATA_FORMS_NS}' type='result'>{told.fields}</x>"
    if not told.columns:
        return ""
    names = [name for name, _ in told.columns]
    reported = "".join(f"<field var='{name}' label='{escape_attribute(label)}'/>" for name, label in told.columns)
    items = "".join(
        "<item>"
        + "".join(
            f"<field var='{name}'><value>{escape_text(value)}</value></field>"
            for name, value in zip(names, row, strict=True)
        )
        + "</item>"
        for row in told.rows
    )
    title = f"<title>{escape_text(told.title)}</title>" if told.title else ""
    return f"<x xmlns='{DATA_FORMS_NS}' type='result'>{title}<reported>{reported}</reported>{items}</x>"
