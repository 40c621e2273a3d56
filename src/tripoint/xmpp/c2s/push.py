"""Push services of phones: where clients ask to be told of what comes while they are not connected.

A registration is a pusher of the account (accounts/pushers.py): it stays over connections and restarts, and goes with
the device of the client, when it is taken away, and when its service does not take what is published any more. What is
published is push.py.
spec: XEP-0357 4.1, 5, 6; docs/mapping.md 18.5
"""

from typing import Final

from tripoint.accounts.pushers import Pusher
from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at
from tripoint.xmpp.forms import FORM_TYPE, submitted
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, PUBLISH_OPTIONS, PUSH_NS
from tripoint.xmpp.wire import Element

KIND: Final = "xmpp"
# Pushers of this kind, as pushers have them: no app of Matrix has this name.
APP_ID: Final = "xmpp"
MAX_NODE: Final = 1024
MAX_FIELDS: Final = 20
# All names and values of the options together: credentials.
MAX_OPTIONS: Final = 4096
# Of one account: a phone has one for each client.
MAX_SERVICES: Final = 10


def push_key(service: str, node: str) -> str:
    """What tells a registration from the others of its account; no address holds a line feed. spec: XEP-0357 5"""
    return f"{service}\n{node}"


def service_of(pusher: Pusher) -> str:
    """The address that is published to."""
    return text_at(pusher.data, "jid") or ""


@iq("set", PUSH_NS, "enable", at=(At.ACCOUNT,), feature=PUSH_NS, spec="XEP-0357 5")
async def enable(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Publish to a node of a service from now on; named again, with the options that come now."""
    element = stanza.first()
    assert element is not None  # the router has looked
    if session.account.guest:
        raise Problem("not-allowed", "Only accounts are pushed to")
    service, node = _service(session, element), element.get("node") or ""
    if len(node) > MAX_NODE:
        raise Problem("policy-violation", f"The name of a node has up to {MAX_NODE} characters here")
    key, pushers = push_key(str(service), node), session.doors.accounts.pushers
    mine = [one for one in pushers.of(session.user_id) if one.kind == KIND]
    if len(mine) >= MAX_SERVICES and all(one.pushkey != key for one in mine):
        raise Problem("resource-constraint", f"An account has up to {MAX_SERVICES} push services", "cancel")
    data: JsonObject = {
        "jid": str(service),
        "node": node,
        "resource": session.jid.resource,
        "options": [[var, *values] for var, values in _options(element).items()],
    }
    settings: JsonObject = {"kind": KIND, "data": data}
    position = session.doors.reader.stream_position().of()
    now_ms = session.doors.now_ms()
    pusher = Pusher(session.user_id, APP_ID, key, session.device_id, settings, now_ms, position)
    await pushers.set(pusher, append=True)
    return ""


@iq("set", PUSH_NS, "disable", at=(At.ACCOUNT,), spec="XEP-0357 6")
async def disable(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Of one node, or of all that this service has for the account; it is no error where there is none."""
    element = stanza.first()
    assert element is not None  # the router has looked
    service, node = str(_named(element)), element.get("node")
    pushers = session.doors.accounts.pushers
    for pusher in pushers.of(session.user_id):
        if pusher.kind == KIND and service_of(pusher) == service and node in (None, pusher.data.get("node")):
            await pushers.delete(pusher.key)
    return ""


def _named(element: Element) -> Jid:
    """Raises Problem."""
    if not element.get("jid"):
        raise Problem("bad-request", "Name the push service by its jid")
    try:
        return parse_jid(element.get("jid") or "")
    except InvalidJid:
        raise Problem("jid-malformed", "The address of the push service is not valid") from None


def _service(session: XmppSession, element: Element) -> Jid:
    """Where is published to: a service of another domain, or a client of this server. Raises Problem."""
    service, domains = _named(element), session.doors.domains
    if service.domain == domains.server and service.local and service.resource:
        return service
    if domains.has(service.domain):
        raise Problem("item-not-found", "There is no push service at that address")
    if session.doors.abroad is None:
        raise Problem("remote-server-not-found", "This server does not talk to other XMPP servers")
    return service


def _options(element: Element) -> dict[str, list[str]]:
    """What is to come with everything that is published, as it is. spec: XEP-0357 5, example 9"""
    form = element.child("x", DATA_FORMS_NS)
    if form is None:
        return {}
    fields = submitted(form, PUBLISH_OPTIONS)
    fields.pop(FORM_TYPE, None)
    size = sum(len(var) + sum(map(len, values)) for var, values in fields.items())
    if len(fields) > MAX_FIELDS or size > MAX_OPTIONS:
        raise Problem("policy-violation", "Those are too many options, or too long ones")
    return fields
