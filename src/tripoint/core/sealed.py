"""Messages that clients of XMPP encrypted among themselves and that hold no words for others. Pure.

Such an event has a type that XMPP alone shows, and says by which means it is encrypted. For push rules it is what
m.room.encrypted is to Matrix: a message of which the server knows only that it is one.
spec: docs/mapping.md 10.0, 19.10; Matrix client-server module push, .m.rule.encrypted.
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.vendor import V

# A message for clients of XMPP alone, encrypted or not.
BARE: Final = V + ".xmpp.message"
# The namespace of the means, where it is encrypted and says something.
SEALED_BY: Final = V + ".xmpp.encrypted"
ENCRYPTED: Final = "m.room.encrypted"


def is_sealed(type_: str, content: JsonObject) -> bool:
    """Whether an event of this type and content is a message whose words only clients of XMPP can read."""
    return type_ == BARE and isinstance(content.get(SEALED_BY), str)
