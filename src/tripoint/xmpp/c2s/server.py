"""Small things a server answers for itself and for accounts: ping, version, time, the old session request.

spec: XEP-0199, XEP-0092, XEP-0202, RFC3921 3 (session; a no-op since RFC 6121), RFC6120 7.7 (no second bind).
"""

from tripoint import __version__
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import BIND_NS, PING_NS, SESSION_NS, TIME_NS, VERSION_NS
from tripoint.xmpp.wire import Element, escape_text

_PINGED = (At.SERVER, At.ACCOUNT, At.ROOMS, At.ROOM, At.GATEWAY)


@iq("get", PING_NS, "ping", at=_PINGED, feature=PING_NS, spec="XEP-0199 4.2")
async def ping(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Are you there? Yes."""
    return ""


@iq("get", VERSION_NS, at=(At.SERVER, At.ROOMS, At.GATEWAY), feature=VERSION_NS, spec="XEP-0092 3")
async def software_version(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Name and version of the software; the operating system is nobody's business."""
    return f"<query xmlns='{VERSION_NS}'><name>tripoint</name><version>{escape_text(__version__)}</version></query>"


@iq("get", TIME_NS, "time", at=(At.SERVER, At.ROOMS, At.GATEWAY), feature=TIME_NS, spec="XEP-0202 2")
async def entity_time(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What time it is. Where the server stands is nobody's business: it lives in UTC."""
    return f"<time xmlns='{TIME_NS}'><tzo>+00:00</tzo><utc>{timestamp(session.doors.now_ms())}</utc></time>"


@iq("set", SESSION_NS, "session", at=(At.SERVER, At.ACCOUNT), spec="RFC3921 3", guests=True)
async def start_session(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """COMPAT: clients from before RFC 6121 ask for a session after they are bound. There is one."""
    return ""


@iq("set", BIND_NS, "bind", at=(At.SERVER, At.ACCOUNT), spec="RFC6120 7.7.1", guests=True)
async def bind_again(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """One resource per stream."""
    raise Problem("not-allowed", "This stream has its resource")
