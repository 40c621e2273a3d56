"""How loud a room is, in its bookmark: <notify/> as XML, both ways. Pure.

What the account has set is its push rules, the same for all protocols; the fallback element of <notify/> shows it.
Elements for one kind of client alone, and <advanced/> of others, are kept as they are.
spec: XEP-0492 2, 3; docs/mapping.md 22.3. Read next: bookmarks.py, core/push_levels.py.
"""

from typing import Final

from tripoint.core.push_levels import RoomLevel
from tripoint.xmpp.tables import BOOKMARKS_NS
from tripoint.xmpp.wire import Element, StreamError, parse_fragment, render

NOTIFY_NS: Final = "urn:xmpp:notification-settings:1"
_LEVELS: Final = {level.value: level for level in RoomLevel}
_IDENTITY: Final = ("identity-category", "identity-type")


def level_in(extensions: str) -> RoomLevel | None:
    """What the fallback element says; None without one."""
    notify = _notify(_parsed(extensions))
    fallback = None if notify is None else _fallback(notify)
    return None if fallback is None else _LEVELS[fallback.name]


def with_level(extensions: str, level: RoomLevel | None) -> str:
    """The same <extensions/> with a fallback element that says this; None: without one."""
    if level_in(extensions) is level:
        return extensions
    parsed = _parsed(extensions) or Element("extensions", BOOKMARKS_NS)
    notify = _notify(parsed)
    old = None if notify is None else _fallback(notify)
    kept = [] if notify is None else [child for child in notify.children if child is not old]
    if level is not None:
        # spec: XEP-0492 3: <advanced/> of others is not ours to lose
        kept.append(Element(level.value, NOTIFY_NS, {}, () if old is None else old.children))
    others = [child for child in parsed.children if child is not notify]
    if kept:
        others.append(Element("notify", NOTIFY_NS, {} if notify is None else notify.attributes, kept))
    if not others:
        return ""
    return render(Element("extensions", BOOKMARKS_NS, parsed.attributes, others), BOOKMARKS_NS).decode()


def _parsed(extensions: str) -> Element | None:
    if not extensions:
        return None
    try:
        # What is stored stands inside of a <conference/>, whose namespace it has.
        return parse_fragment(f"<conference xmlns='{BOOKMARKS_NS}'>{extensions}</conference>")[0].first()
    except (StreamError, IndexError):
        return None


def _notify(extensions: Element | None) -> Element | None:
    return None if extensions is None else extensions.child("notify", NOTIFY_NS)


def _fallback(notify: Element) -> Element | None:
    """spec: XEP-0492 2.1: "A notification element without attributes is called a fallback element"."""
    for child in notify.elements():
        if child.namespace == NOTIFY_NS and child.name in _LEVELS and not any(map(child.get, _IDENTITY)):
            return child
    return None
