"""A bookmark of a room: as XEP-0402 has it, and as XEP-0048 had it. Pure.

spec: XEP-0402 2, 5.1, 5.3; XEP-0048 3. Read next: bookmarks.py.
"""

from dataclasses import dataclass
from typing import Final

from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import BOOKMARKS_NS, OLD_BOOKMARKS_NS, PUBSUB_ERRORS_NS
from tripoint.xmpp.wire import Element, StreamError, escape_attribute, escape_text, parse_fragment, render

MAX_TEXT: Final = 1023


@dataclass(frozen=True, slots=True)
class Conference:
    """`extensions` is the XML of that element, or empty."""

    name: str = ""
    autojoin: bool = False
    nick: str = ""
    password: str = ""
    extensions: str = ""

    def xml(self) -> str:
        """spec: XEP-0402 2"""
        head = f"<conference xmlns='{BOOKMARKS_NS}'"
        if self.name:
            head += f" name='{escape_attribute(self.name)}'"
        head += f" autojoin='{'true' if self.autojoin else 'false'}'"
        inside = self._inside() + self.extensions
        return f"{head}>{inside}</conference>" if inside else f"{head}/>"

    def old_xml(self, jid: str) -> str:
        """spec: XEP-0048 3.1: an element of <storage/>; extensions have no place there"""
        head = f"<conference jid='{escape_attribute(jid)}'"
        if self.name:
            head += f" name='{escape_attribute(self.name)}'"
        head += f" autojoin='{'true' if self.autojoin else 'false'}'"
        inside = self._inside()
        return f"{head}>{inside}</conference>" if inside else f"{head}/>"

    def _inside(self) -> str:
        nick = f"<nick>{escape_text(self.nick)}</nick>" if self.nick else ""
        return nick + (f"<password>{escape_text(self.password)}</password>" if self.password else "")


def read_conference(element: Element) -> Conference:
    """What a client published. Problem where it is no bookmark. spec: XEP-0402 2, XEP-0060 7.1.3.6"""
    namespace = element.namespace
    if element.name != "conference" or namespace not in (BOOKMARKS_NS, OLD_BOOKMARKS_NS):
        extra = f"<invalid-payload xmlns='{PUBSUB_ERRORS_NS}'/>"
        raise Problem("bad-request", "This is no bookmark of a room", extra=extra)
    extensions = element.child("extensions", namespace)
    return Conference(
        name=(element.get("name") or "")[:MAX_TEXT],
        autojoin=(element.get("autojoin") or "").strip() in ("1", "true"),
        nick=(element.child_text("nick", namespace) or "")[:MAX_TEXT],
        password=(element.child_text("password", namespace) or "")[:MAX_TEXT],
        extensions="" if extensions is None else render(extensions, BOOKMARKS_NS).decode(),
    )


def stored_conference(payload: str) -> Conference:
    """A bookmark that was stored; an empty one for what cannot be read."""
    try:
        return read_conference(parse_fragment(payload)[0])
    except (StreamError, IndexError, Problem):
        return Conference()
