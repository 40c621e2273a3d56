"""Which STUN and TURN servers there are for calls, with credentials for this user.

spec: XEP-0215 3.1-3.3, 5. Where the operator has none, there is no such service. Nothing is pushed: what there is
changes with a restart alone, and credentials are asked for anew when they have ended.
"""

from tripoint.core.turn import TurnCredentials, TurnServer, TurnServers, make_credentials
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import EXTERNAL_NS
from tripoint.xmpp.wire import Element, escape_attribute


@iq("get", EXTERNAL_NS, "services", at=(At.SERVER,), feature=EXTERNAL_NS, spec="XEP-0215 3.1, 3.2", guests=False)
async def services(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """All, or those of one type."""
    turn = _configured(session)
    query = stanza.first()
    kind = None if query is None else query.get("type")
    listed = _render(session, turn, [one for one in turn.servers if kind in (None, one.type)])
    typed = "" if kind is None else f" type='{escape_attribute(kind)}'"
    return f"<services xmlns='{EXTERNAL_NS}'{typed}>{listed}</services>"


@iq("get", EXTERNAL_NS, "credentials", at=(At.SERVER,), spec="XEP-0215 3.3", guests=False)
async def credentials(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Those for one service, which the client names."""
    turn = _configured(session)
    query = stanza.first()
    wanted = None if query is None else query.child("service", EXTERNAL_NS)
    host, kind = (None, None) if wanted is None else (wanted.get("host"), wanted.get("type"))
    if wanted is None or not host or not kind:
        raise Problem("bad-request", "Name the service by its host and type")
    port = wanted.get("port")
    found = [
        one
        for one in turn.servers
        if (one.type, one.host) == (kind, host.lower()) and port in (None, str(one.port)) and one.needs_credentials
    ]
    if not found:
        raise Problem("item-not-found", "There are no credentials for such a service")
    return f"<credentials xmlns='{EXTERNAL_NS}'>{_render(session, turn, found)}</credentials>"


def _configured(session: XmppSession) -> TurnServers:
    turn = session.doors.turn
    if not turn.servers:
        raise Problem("service-unavailable", "There are no servers for calls here")
    return turn


def _render(session: XmppSession, turn: TurnServers, servers: list[TurnServer]) -> str:
    made = make_credentials(turn, session.user_id, session.doors.now_ms() // 1000)
    return "".join(_service(one, made if one.needs_credentials else None) for one in servers)


def _service(server: TurnServer, made: TurnCredentials | None) -> str:
    """spec: XEP-0215 2, table 1"""
    attributes = {
        "type": server.type,
        "host": server.host,
        "port": str(server.port),
        "transport": server.transport,
    }
    if made is not None:
        attributes |= {
            "username": made.username,
            "password": made.password,
            "expires": timestamp(made.expires_s * 1000),
            "restricted": "true",
        }
    written = "".join(f" {name}='{escape_attribute(value)}'" for name, value in attributes.items())
    return f"<service{written}/>"
