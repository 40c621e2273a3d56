"""The sessions of this process, from the moment a resource is bound to their end: for clients, and for people of other
servers whose stanzas are handled here.

spec: RFC6120 7; XEP-0386 3.2; XEP-0198 5; docs/mapping.md 4. Read next: stream.py, which asks for them; session.py.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from tripoint.accounts.ports import Account
from tripoint.core.ids import DeviceId
from tripoint.fanout.delivery import Outbox
from tripoint.xmpp.c2s.blocking import BlockPushes
from tripoint.xmpp.c2s.direct import DirectMessages
from tripoint.xmpp.c2s.missed import Missed
from tripoint.xmpp.c2s.presence import went_away
from tripoint.xmpp.c2s.users import MAX_RESOURCES, Users
from tripoint.xmpp.guests import end_guest
from tripoint.xmpp.jid import InvalidJid, Jid, escape_local, prepare_resource
from tripoint.xmpp.muc.service import Muc
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.pep.service import Pep
from tripoint.xmpp.push import PushServices
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.resumption import Resumptions
from tripoint.xmpp.router import dispatch, return_requests
from tripoint.xmpp.sasl_profiles import BindRequest, UserAgent
from tripoint.xmpp.session import Carrier, Doors, Sink, XmppSession


@dataclass(frozen=True, slots=True)
class Parts:
    """What sessions use, and what hears of their beginning and end."""

    users: Users
    muc: Muc
    direct: DirectMessages
    missed: Missed
    pep: Pep
    blocking: BlockPushes
    push: PushServices


class Sessions:
    """Makes and ends them. `options` are those of now; `new_id` is random text that nobody guesses."""

    def __init__(
        self, doors: Doors, parts: Parts, options: Callable[[], XmppOptions], new_id: Callable[[], str]
    ) -> None:
        self._doors = doors
        self._parts = parts
        self._options = options
        self._new_id = new_id
        self.resumptions = Resumptions(options, doors.monotonic, new_id, self.end)
        self._run_id = secrets.token_hex(4)
        self._count = 0

    def _session(
        self, jid: Jid, account: Account, device_id: DeviceId, outbox: Sink, carrier: Carrier, *, secure: bool
    ) -> XmppSession:
        """A session of its own id, in no list yet."""
        self._count += 1
        options, parts = self._options(), self._parts
        return XmppSession(
            f"xmpp-{self._run_id}-{self._count}",
            jid,
            account,
            device_id,
            outbox,
            self._doors,
            options.stanzas_burst,
            options.stanzas_per_s,
            users=parts.users,
            muc=parts.muc,
            direct=parts.direct,
            missed=parts.missed,
            pep=parts.pep,
            dispatch=dispatch,
            carrier=carrier,
            resumptions=self.resumptions,
            secure=secure,
        )

    def visitor(self, jid: Jid, account: Account, back: Sink, carrier: Carrier) -> XmppSession:
        """As whom a stanza of somebody of another server is handled."""
        session = self._session(jid, account, DeviceId(""), back, carrier, secure=True)
        session.foreign = True
        return session

    async def device_of(self, account: Account, resource: str, user_agent: UserAgent | None) -> DeviceId:
        """docs/mapping.md 4: one device per account and client; clients put random text behind a dot or slash."""
        label = resource.partition(".")[0].partition("/")[0][:40]
        if user_agent is not None and user_agent.name:
            label = user_agent.name
        device = await self._doors.accounts.log_in(account, protocol="xmpp", display_name=f"XMPP ({label})")
        return device.device_id

    async def begin(
        self,
        account: Account,
        resource: str,
        outbox: Outbox,
        carrier: Carrier,
        *,
        secure: bool,
        user_agent: UserAgent | None = None,
    ) -> XmppSession:
        """Bind a resource. Raises AccountRefused, or Problem for too many resources."""
        device_id = await self.device_of(account, resource, user_agent)
        jid = Jid(escape_local(account.name), self._doors.domains.server, resource)
        session = self._session(jid, account, device_id, outbox, carrier, secure=secure)
        session.installation = None if user_agent is None else user_agent.id
        user = self._parts.users.live(account.user_id)
        crowded = user is not None and resource not in user.sessions and len(user.sessions) >= MAX_RESOURCES
        if crowded and not self.resumptions.give_way(account.user_id):
            raise Problem("resource-constraint", f"An account has at most {MAX_RESOURCES} resources")
        # docs/mapping.md 4: what the rooms' presence needs to know at once.
        await self._doors.reader.memberships(account.user_id)
        await self._parts.users.add(session)
        self._parts.blocking.began(session)
        self._parts.pep.began(session)
        return session

    def end(self, session: XmppSession) -> None:
        """The stream is over: leave the rooms, tell the contacts, forget the resource."""
        if session.closed:
            return
        session.closed = True
        self.resumptions.ended(session)
        self._parts.missed.went_silent(session)
        return_requests(session)
        went_away(session)
        # First: the rooms show those who have nobody there as the middle says they are.
        self._doors.presence.session_down(session.user_id, session.id)
        self._parts.muc.lost(session)
        self._parts.users.remove(session)
        self._parts.blocking.ended(session)
        self._parts.pep.ended(session)
        if session.account.guest:
            self._doors.spawn(end_guest(self._doors.accounts, session.user_id))

    def resource_for(self, account: Account, request: BindRequest, user_agent: UserAgent) -> str:
        """A name for a resource that the client leaves to us: the same each time for the same installation.

        spec: XEP-0386 3.2.1
        """
        made = self._new_id()
        if user_agent.id is not None:
            known = "\0".join((account.user_id, user_agent.id, request.tag)).encode()
            made = hmac.digest(self._doors.secret, b"resource\0" + known, "sha256").hex()[:20]
        try:
            return prepare_resource(f"{request.tag}/{made}" if request.tag else made)
        except InvalidJid:
            return made

    def keep(self, session: XmppSession) -> bool:
        """Its connection is lost: whether the session waits for another."""
        kept = self.resumptions.keep(session)
        if kept:
            self._parts.push.lost(session)
        return kept

    def end_former(self, session: XmppSession) -> None:
        """Earlier sessions of the same installation of a client are over. spec: XEP-0386 3.2"""
        user = session.user
        if user is None or session.installation is None:
            return
        for other in list(user.sessions.values()):
            if other is not session and other.installation == session.installation:
                other.carrier.end("conflict", "The same client has logged in again")
