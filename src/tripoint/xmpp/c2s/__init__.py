"""What a server does for its own users: roster, presence, one-to-one messages, registration, discovery.

Imports what xmpp may import. Start at users.py. Importing this package fills the registry.
"""

from tripoint.xmpp.c2s import (
    abroad,
    account_commands,
    administration,
    archive,
    archive_preferences,
    blocking,
    carbons,
    discovery,
    external,
    gateway,
    invitations,
    looking,
    one_to_one,
    people,
    presence,
    push,
    registration,
    roster,
    server,
    service_commands,
    upload,
    vcard,
)

__all__ = [
    "abroad",
    "account_commands",
    "administration",
    "archive",
    "archive_preferences",
    "blocking",
    "carbons",
    "discovery",
    "external",
    "gateway",
    "invitations",
    "looking",
    "one_to_one",
    "people",
    "presence",
    "push",
    "registration",
    "roster",
    "server",
    "service_commands",
    "upload",
    "vcard",
]
