"""What the server says to everybody who comes: a message of the day, and a welcome to new accounts.

Administrators set them while the server runs, by whichever protocol, and they are one thing for all. A message of the
day that is set stands in the place of the configuration's (server.motd): IRC shows it with every connection and by
MOTD, XMPP to each account once. The welcome is a server notice, which every account that is made from then on gets when
somebody first logs in to it.
spec: docs/mapping.md 10.15; XEP-0133 4.24-4.28
"""

import hashlib
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

import orjson

from tripoint.accounts.commit import commit
from tripoint.core.ids import UserId
from tripoint.core.vendor import V
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMeta

if TYPE_CHECKING:
    from tripoint.accounts.data import AccountData

# Which message of the day an account was shown last.
SHOWN: Final = f"{V}.motd_shown"
# Of an account that was made and that nobody has logged in to yet: it is welcomed when somebody does.
NEW: Final = f"{V}.new_account"
# As much as a person reads who wants to chat; IRC sends each line by itself.
MAX_TEXT: Final = 4000
MAX_LINES: Final = 60

Welcome = Callable[[UserId, str], Awaitable[None]]


class Greeting(Enum):
    """Which of the two. The value is what commands and paths call it."""

    MOTD = "motd"
    WELCOME = "welcome"


class TooLong(ValueError):
    """A greeting that nobody would read; the text says what fits."""


class Greetings:
    """Both. Call start() once."""

    def __init__(self, store: AccountStore, stream: Stream, data: "AccountData") -> None:
        self._store = store
        self._stream = stream
        self._data = data
        self._texts: dict[Greeting, str | None] = dict.fromkeys(Greeting)
        self._new: set[UserId] = set()
        # Tells one account the welcome; set when there are rooms.
        self.tell: Welcome | None = None

    async def start(self) -> None:
        """Read what was set."""
        for which in Greeting:
            stored = await self._store.load_meta(_key(which))
            self._texts[which] = None if stored is None else orjson.loads(stored)
        rows = await self._store.load_account_data_of_type(NEW)
        self._new = {row.user_id for row in rows if orjson.loads(row.content)}

    def text(self, which: Greeting) -> str | None:
        """What was set; "": that there is none; None: nothing was said, and the configuration holds."""
        return self._texts[which]

    def motd(self, configured: str) -> str:
        """The message of the day of now."""
        stored = self._texts[Greeting.MOTD]
        return configured if stored is None else stored

    async def put(self, which: Greeting, text: str | None) -> None:
        """Set one (as text() has it). Raises TooLong; AccountRefused: SERVER_BUSY."""
        if text is not None:
            text = "\n".join(line.rstrip() for line in text.strip().splitlines())
            if len(text) > MAX_TEXT or text.count("\n") >= MAX_LINES:
                raise TooLong(f"At most {MAX_TEXT} characters in {MAX_LINES} lines")
        await commit(self._stream, [PutMeta(_key(which), orjson.dumps(text).decode())])
        self._texts[which] = text

    async def unshown_motd(self, user_id: UserId) -> str:
        """The message of the day that was set and that an account has not been shown; "" for none. It counts as shown
        from now on."""
        text = self._texts[Greeting.MOTD]
        if not text:
            return ""
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]
        shown = await self._data.get(user_id, None, SHOWN)
        if shown is not None and shown.get("text") == mark:
            return ""
        await self._data.set(user_id, None, SHOWN, {"text": mark})
        return text

    async def account_made(self, user_id: UserId) -> None:
        """There is an account that is to be welcomed."""
        if self._texts[Greeting.WELCOME]:
            self._new.add(user_id)
            await self._data.set(user_id, None, NEW, {"welcome": True})

    async def came(self, user_id: UserId) -> None:
        """Somebody is here, and hears. Who is here for the first time is welcomed."""
        if user_id not in self._new:
            return
        self._new.discard(user_id)
        await self._data.set(user_id, None, NEW, {})
        text = self._texts[Greeting.WELCOME]
        if text and self.tell is not None:
            await self.tell(user_id, text)


def _key(which: Greeting) -> str:
    return f"greeting.{which.value}"
