"""State that changed without an event: what was told in a MUC and is not so any more is undone.

A resolution of forks can decide against an event that everybody was shown, and bring back what it had replaced.
Clients keep their own list of who is there, so they are told the way from the old picture to the new one.
spec: docs/mapping.md 5.5, 21.5; XEP-0045 8.1, 8.2, 9.1, 10.2.1.  Read next: events.py.
"""

from tripoint.rooms.changes import StateReset
from tripoint.rooms.settings import FOREIGN, LIMITS, MENTIONS, SLOW, TLS_ONLY
from tripoint.xmpp.muc.affiliations import listable_users
from tripoint.xmpp.muc.events import (
    membership_of,
    tell_affiliations,
    tell_configured,
    tell_encrypted,
    tell_member,
    tell_ranks,
    tell_tls_only,
)
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.render import room_message
from tripoint.xmpp.wire import escape_text

_CONFIGURATION = frozenset(
    {
        FOREIGN,
        LIMITS,
        MENTIONS,
        SLOW,
        TLS_ONLY,
        "m.room.avatar",
        "m.room.canonical_alias",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.name",
    }
)


def tell_reset(view: MucView, change: StateReset) -> None:
    """Presence of who goes, comes or ranks otherwise, the subject, 104: nobody is named as having done it."""
    if change.position < view.position:
        return  # the room was read when it was so already
    if change.completes:
        view.affiliations.look(view.room, listable_users(view.room))
        view.completed()
        tell_affiliations(view)
        return
    view.affiliations.look(view.room, {*listable_users(view.room), *view.affiliations.items()})
    members = [pair for pair in change.changed if any(e is not None and e.type == "m.room.member" for e in pair)]
    # Who goes goes first: his nick may be theirs who come.
    for before, after in sorted(members, key=lambda pair: membership_of(pair[1]) == "join"):
        tell_member(view, before, after, None)
    tell_ranks(view)
    types = {event.type for pair in change.changed for event in pair if event is not None}
    if "m.room.topic" in types:
        view.tell(room_message(view.jid, f"<subject>{escape_text(view.room.topic or '')}</subject>"))
    if view.take_settings() or types & _CONFIGURATION:
        tell_configured(view, None)
    if "m.room.encryption" in types and view.room.encrypted:
        tell_encrypted(view)
    tell_tls_only(view)
