"""Rooms as Multi-User Chat (XEP-0045): entering, talking, moderating, configuring, discovering.

Start at service.py (all rooms that somebody is in by XMPP) and view.py (one room). Importing this package fills
the registry.
"""

from tripoint.xmpp.muc import (
    admin,
    archive,
    calling,
    commands,
    discovery,
    enter,
    listing,
    messages,
    owner,
    registering,
    rolls,
    vcard,
)

__all__ = [
    "admin",
    "archive",
    "calling",
    "commands",
    "discovery",
    "enter",
    "listing",
    "messages",
    "owner",
    "registering",
    "rolls",
    "vcard",
]
