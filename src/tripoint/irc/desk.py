"""The services for who is not on IRC: what XMPP offers as commands and HTTP as calls.

A request runs as on IRC, on behalf of a session that has no connection: it is in the channels that the request names
and its account is in, and what the service says to it is the answer.
spec: docs/mapping.md 18.1; accounts.ports.ServiceDesk
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from tripoint.accounts.ports import Account, ServiceCommand
from tripoint.core.ids import UserId
from tripoint.fanout.delivery import Flusher
from tripoint.irc.channel import Channel
from tripoint.irc.connection import IrcConnection
from tripoint.irc.entrance import is_closed_to
from tripoint.irc.network import Network
from tripoint.irc.operators import Operator, operator_of
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.services import COMMANDS, Entry, ask
from tripoint.irc.session import IrcSession

# Sessions that are remembered, so that what is asked for twice is done (docs/mapping.md 8.4).
REMEMBERED = 200
MAX_WORDS = 400


class _Nowhere:
    """Where the lines of a session without a connection go."""

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0


class Desk:
    """See accounts.ports.ServiceDesk. `passwords_allowed(address, secure)` as for connections."""

    def __init__(
        self, network: Network, flusher: Flusher, passwords_allowed: Callable[[str, bool], bool]
    ) -> None:
        self._network = network
        self._flusher = flusher
        self._passwords_allowed = passwords_allowed
        self._sessions: OrderedDict[UserId, IrcSession] = OrderedDict()

    def commands(self, account: Account) -> Sequence[ServiceCommand]:
        return [
            ServiceCommand(entry.service, entry.name, entry.usage)
            for entry in COMMANDS.values()
            if self._is_offered(entry, account)
        ]

    async def run(
        self, account: Account, service: str, command: str, words: str, *, address: str, secure: bool
    ) -> Sequence[str]:
        entry = COMMANDS[service, command]
        if not self._is_offered(entry, account):
            raise KeyError(command)
        session = self._session(account, address, secure=secure)
        lines: list[str] = []
        # A line of IRC is no longer than this, and has no line breaks.
        rest = " ".join(words.split())[:MAX_WORDS]
        await self._enter(session, rest)
        try:
            await ask(session, service, command, rest, lines.append)
        finally:
            session.channels.clear()
        return lines

    def _session(self, account: Account, address: str, *, secure: bool) -> IrcSession:
        session = self._sessions.pop(account.user_id, None)
        if session is None or (session.address, session.secure) != (address, secure):
            outbox = IrcOutbox(_Nowhere(), self._flusher, 0, lambda: None)
            outbox.closed = True
            session = IrcSession(
                f"desk-{account.user_id}",
                self._network,
                account,
                None,
                outbox,
                IrcConnection(self._network.names.server, {}),
                lambda reason: None,
                address=address,
                secure=secure,
                passwords_allowed=self._passwords_allowed(address, secure),
            )
        session.account = account
        session.operator = self._operator(account)
        self._sessions[account.user_id] = session
        if len(self._sessions) > REMEMBERED:
            self._sessions.popitem(last=False)
        return session

    async def _enter(self, session: IrcSession, words: str) -> None:
        """Be in the channels that are named, as far as the account is."""
        for word in words.split():
            if not word.startswith("#"):
                continue
            room_id = await self._network.find_room(word, session.user_id)
            room = None if room_id is None else await session.reader.room(room_id)
            if room is None or room.membership(session.user_id) != "join" or is_closed_to(room, session):
                continue
            open_channel = self._network.channels.get(room.room_id)
            if open_channel is None or open_channel.direct:
                open_channel = Channel(room, session.names, direct=False)
                open_channel.take_shown(session.reader, self._network.now_ms())
            session.channels[room.room_id] = open_channel

    def _operator(self, account: Account) -> Operator | None:
        """There is no OPER here: an administrator's account is enough, and needed."""
        return operator_of(account, self._network.options.operators) if account.admin else None

    def _is_offered(self, entry: Entry, account: Account) -> bool:
        if entry.here or entry.privilege is None:
            return not entry.here
        operator = self._operator(account)
        return operator is not None and operator.may(entry.privilege)
