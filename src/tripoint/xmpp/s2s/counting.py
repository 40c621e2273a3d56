"""What was sent over a stream between servers and is not acknowledged, so that its senders can be told where the
connection breaks. Nothing is resumed: a broken stream is followed by a new one, and nothing is sent twice.

spec: XEP-0198 3, 4, 6
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from tripoint.xmpp.acks import WRAP, HandledTooMuch
from tripoint.xmpp.s2s.actions import Handled, Managed, TellHandled
from tripoint.xmpp.s2s.intake import Intake
from tripoint.xmpp.tables import SM_NS
from tripoint.xmpp.wire import Element

# Of more than so many that are on their way the oldest are forgotten: a peer that acknowledges nothing costs no more.
MAX_REMEMBERED: Final = 1000
ASK: Final = f"<r xmlns='{SM_NS}'/>".encode()


class Counted:
    """Stanzas on their way to one peer, by what answers for each where it does not arrive. Nothing before begin()."""

    def __init__(self) -> None:
        self.on = False
        self._sent = self._acked = 0
        self._waiting: deque[Element | None] = deque()
        self._asked = False

    def begin(self) -> None:
        """What is sent from now on is counted."""
        self.on = True

    def end(self) -> None:
        """The peer does not acknowledge anything."""
        self.on = False
        self._waiting.clear()

    def add(self, original: Element | None) -> bool:
        """One is being sent. Whether an acknowledgement is to be asked for now."""
        if not self.on:
            return False
        self._sent = (self._sent + 1) % WRAP
        self._waiting.append(original)
        if len(self._waiting) > MAX_REMEMBERED:
            self._waiting.popleft()
        return self._ask()

    def acknowledge(self, h: int) -> bool:
        """The peer has handled so many. Whether to ask again. Raises HandledTooMuch."""
        on_the_way = (self._sent - self._acked) % WRAP
        newly = (h - self._acked) % WRAP
        if newly > on_the_way:
            raise HandledTooMuch(h, self._sent)
        forgotten = on_the_way - len(self._waiting)
        for _ in range(newly - forgotten):
            self._waiting.popleft()
        self._acked = h
        self._asked = False
        return self._sent != self._acked and self._ask()

    def _ask(self) -> bool:
        asks, self._asked = not self._asked, True
        return asks

    def lost(self) -> list[Element]:
        """The connection broke: what may not have arrived, once."""
        waiting, self._waiting = self._waiting, deque()
        return [original for original in waiting if original is not None]


class Counting:
    """Both directions of one connection: `intake` handles what comes, `write` sends, `wrong(text)` ends the stream of a
    peer that acknowledges what it was not sent."""

    def __init__(self, intake: Intake, write: Callable[[bytes], None], wrong: Callable[[str], None]) -> None:
        self._intake = intake
        self._write = write
        self._wrong = wrong
        self._counted = Counted()
        self._from = 0  # of what came, the first that counts

    def sent(self, original: Element | None) -> None:
        """A stanza was written; `original` answers for it where it does not arrive."""
        if self._counted.add(original):
            self._write(ASK)

    def act(self, action: Managed | TellHandled | Handled) -> None:
        """What the stream says. spec: XEP-0198 3, 4, 6"""
        if isinstance(action, TellHandled):
            handled = max(self._intake.handled - self._from, 0) % WRAP
            self._write(f"<a xmlns='{SM_NS}' h='{handled}'/>".encode())
        elif isinstance(action, Handled):
            try:
                more = self._counted.acknowledge(action.h)
            except HandledTooMuch as error:
                self._wrong(str(error))
                return
            if more:
                self._write(ASK)
        elif action.on:
            self._from = self._intake.taken
            self._counted.begin()
        else:
            self._counted.end()

    def lost(self) -> list[Element]:
        """See Counted.lost."""
        return self._counted.lost()
