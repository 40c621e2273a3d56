"""Addresses of e-mail, in the one form in which they are compared.

spec: Matrix appendices "3PID Types"; RFC5321 4.1.2, 4.5.3.1. Addresses outside ASCII are not written to: what is left
of one after case folding, "strauss@" of "Strauß@", is what is stored, compared and written to alike, so that nobody is
sent what was meant for somebody whose address merely looks the same.
"""

import re
from typing import Final, NewType

from tripoint.core.errors import PeerError

EmailAddress = NewType("EmailAddress", str)
# spec: RFC5321 4.5.3.1: a path of 256 octets, with its angle brackets; the part before the @ of 64.
MAX_ADDRESS: Final = 254
MAX_LOCAL: Final = 64
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@{_LABEL}(?:\.{_LABEL})+\Z")


def parse_email_address(text: str) -> EmailAddress:
    """The canonical form of an address, without name, brackets, quotes or comments. Raises PeerError."""
    folded = text.strip().casefold()
    found = _ADDRESS.match(folded) if len(folded) <= MAX_ADDRESS else None
    if found is None or len(found["local"]) > MAX_LOCAL:
        raise PeerError("That is no e-mail address that this server can write to")
    return EmailAddress(folded)
