"""What stands before a message for clients that know no tags: whom it answers, and in which thread. Pure.

spec: docs/mapping.md 11.6, 11.7.  Read next: tripoint/irc/messages.py, which shows the same as tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tripoint.irc.formatting import strip_codes
from tripoint.irc.names import short_hash
from tripoint.irc.render import one_line

# spec: docs/mapping.md 11.6: what is further up than this has left the screen.
NEAR_EVENTS: Final = 20
_QUOTED_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Lead:
    """`stamp` stands before everything, as it is. `thread` is the root; `nick` whose message is answered, `quoted`
    what it says where that is long ago.
    """

    thread: str | None = None
    nick: str | None = None
    quoted: str | None = None
    stamp: str = ""

    def before(self, text: str, *, emote: bool) -> str:
        """`text` with what leads to it. An emote begins with who acts: it gets the thread alone."""
        if self.nick is not None and not emote:
            if not names(text, self.nick):
                text = f"{self.nick}: {text}"
            if self.quoted:
                quoted = strip_codes(one_line(self.quoted))[:_QUOTED_CHARS]
                text = f"> {self.nick}: {quoted}\n{text}"
        if self.thread is not None:
            text = f"[{short_hash(self.thread, 4)}] {text}"
        return self.stamp + text


NO_LEAD: Final = Lead()


def names(text: str, nick: str) -> bool:
    """Whether a text names somebody already."""
    return re.search(rf"(?<!\w){re.escape(nick)}(?!\w)", strip_codes(text), re.IGNORECASE) is not None
