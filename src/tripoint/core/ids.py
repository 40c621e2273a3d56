"""Identifiers: users, rooms, events, aliases, servers. Parsed once at the edge, typed from there on.

spec: Matrix appendices identifier-grammar; docs/mapping.md 1.2, 1.5, 3.3.
Remote identifiers may hold nearly any character, CR and LF included: they are never safe as a nick, a channel
name, a JID or a part of a line. That is the front ends' business; here only the grammar of the ids is
checked. Read next: confusables.py for names that look alike.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Container
from functools import lru_cache
from typing import Final, NewType

from tripoint.core.confusables import skeleton
from tripoint.core.errors import PeerError

ServerName = NewType("ServerName", str)
UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
RoomAlias = NewType("RoomAlias", str)
DeviceId = NewType("DeviceId", str)
Localpart = NewType("Localpart", str)

MAX_ID_BYTES: Final = 255  # spec: appendices, the same limit for each of the identifiers with a sigil

# Names that services, operators or people looking for help would be taken for; the server's own is one too.
# docs/mapping.md 1.2
RESERVED_ACCOUNT_NAMES: Final = frozenset(
    {"nickserv", "chanserv", "operserv", "histserv", "hostserv", "memoserv", "server", "tripoint", "root", "admin"}
)

_DNS_NAME = re.compile(r"[0-9A-Za-z.-]{1,255}\Z")
_IPV4_SHAPE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
_IPV6_CHARS = re.compile(r"[0-9A-Fa-f:.]{2,45}\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_NEW_ACCOUNT = re.compile(r"[a-z][a-z0-9._-]{0,31}\Z")
_HISTORICAL_SAFE = re.compile(r"[\x21-\x39\x3b-\x7e]+\Z")  # U+0021..U+007E without ":"
_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidId(PeerError):
    """A string that is not the identifier it was taken for. The text says why, without quoting the string."""


@lru_cache(maxsize=4096)  # asked for every id; those in use are few
def parse_server_name(text: str) -> ServerName:
    """`host[:port]`: a DNS name, an IPv4 literal or a bracketed IPv6 literal. Case is kept and matters.

    spec: Matrix appendices server-name
    """
    host, port = text, ""
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or not _IPV6_CHARS.match(inside):
            raise InvalidId("server name has a bad IPv6 literal")
        try:
            ipaddress.IPv6Address(inside)
        except ValueError:
            raise InvalidId("server name has a bad IPv6 literal") from None
        if rest and not rest.startswith(":"):
            raise InvalidId("server name goes on after its IPv6 literal")
        if rest and not _PORT.match(rest[1:]):
            raise InvalidId("server name has a bad port")
        return ServerName(text)
    host, colon, port = text.partition(":")
    if colon and (not _PORT.match(port) or int(port) > 65535):
        raise InvalidId("server name has a bad port")
    if not _DNS_NAME.match(host):
        raise InvalidId("server name is not a DNS name")
    # Four short numbers are an address, not a name: 1.2.3.999 is neither.
    if _IPV4_SHAPE.match(host) and any(int(part) > 255 for part in host.split(".")):
        raise InvalidId("server name has a bad IPv4 literal")
    return ServerName(text)


@lru_cache(maxsize=1024)  # those who speak, again and again; one is some 300 bytes
def parse_user_id(text: str) -> UserId:
    """A user id as events from other servers may carry it.

    Localparts of any character but `:` and NUL are taken, the empty one too: servers MUST accept them.
    spec: Matrix appendices user-identifiers, historical-user-ids
    """
    _check_id(text, "@", "user id")
    _, colon, server = text.partition(":")
    if not colon:
        raise InvalidId("user id has no server name")
    parse_server_name(server)
    return UserId(text)


def parse_room_id(text: str) -> RoomId:
    """`!opaque:server`, or `!hash` without a server part (room version 12).

    spec: Matrix appendices room-ids
    """
    _check_id(text, "!", "room id")
    opaque, colon, server = text.partition(":")
    if len(opaque) < 2:
        raise InvalidId("room id is empty")
    if colon:
        parse_server_name(server)
    return RoomId(text)


def parse_event_id(text: str) -> EventId:
    """`$opaque:server` (room versions 1, 2) or `$hash`. Opaque otherwise.

    spec: Matrix appendices event-ids
    """
    _check_id(text, "$", "event id")
    if len(text) < 2:
        raise InvalidId("event id is empty")
    return EventId(text)


def parse_given_event_id(text: str) -> EventId:
    """`$opaque:server`, the id that an event of room version 1 or 2 carries.

    spec: Matrix rooms/v1 event-ids
    """
    event_id = parse_event_id(text)
    opaque, colon, server = text.partition(":")
    if not colon or len(opaque) < 2:
        raise InvalidId("event id has no server name")
    parse_server_name(server)
    return event_id


def parse_room_alias(text: str) -> RoomAlias:
    """`#localpart:server` with any localpart, remote ones included.

    spec: Matrix appendices room-aliases
    """
    _check_id(text, "#", "room alias")
    local, colon, server = text.partition(":")
    if not colon or len(local) < 2:
        raise InvalidId("room alias needs a name and a server")
    parse_server_name(server)
    return RoomAlias(text)


def _check_id(text: str, sigil: str, what: str) -> None:
    if not text.startswith(sigil):
        raise InvalidId(f"{what} must begin with {sigil}")
    if "\0" in text:
        raise InvalidId(f"{what} holds NUL")
    if text.isascii():
        length = len(text)
    elif _SURROGATE.search(text):
        raise InvalidId(f"{what} holds a lone surrogate")
    else:
        length = len(text.encode())
    if length > MAX_ID_BYTES:
        raise InvalidId(f"{what} is longer than {MAX_ID_BYTES} bytes")


def split_user_id(user_id: UserId) -> tuple[Localpart, ServerName]:
    """(localpart, server name) of a parsed user id."""
    local, _, server = user_id[1:].partition(":")
    return Localpart(local), ServerName(server)


def split_room_alias(alias: RoomAlias) -> tuple[str, ServerName]:
    """(localpart, server name) of a parsed alias."""
    local, _, server = alias[1:].partition(":")
    return local, ServerName(server)


def server_of(identifier: UserId | RoomAlias | RoomId | EventId) -> ServerName:
    """The server part. Raise InvalidId where there is none (room ids of version 12, event ids from 3 on)."""
    _, colon, server = identifier.partition(":")
    if not colon:
        raise InvalidId("this identifier has no server part")
    return ServerName(server)


def make_user_id(localpart: str, server: ServerName) -> UserId:
    """`@localpart:server`, checked as parse_user_id does."""
    if ":" in localpart:
        raise InvalidId("localpart holds a colon")
    return parse_user_id(f"@{localpart}:{server}")


def make_room_alias(localpart: str, server: ServerName) -> RoomAlias:
    """`#localpart:server` for a localpart that is already folded (fold_alias_localpart)."""
    if ":" in localpart:
        raise InvalidId("alias holds a colon")
    return parse_room_alias(f"#{localpart}:{server}")


def is_historical(user_id: UserId) -> bool:
    """Whether the localpart is non-compliant: not shown to clients outside events.

    spec: Matrix appendices historical-user-ids (empty, or characters beyond U+0021 to U+007E)
    """
    return _HISTORICAL_SAFE.match(split_user_id(user_id)[0]) is None


def fold_alias_localpart(localpart: str) -> str:
    """The stored and looked-up form of a local alias: NFKC and ASCII lower case.

    Raise InvalidId for what could not be a channel name and a JID alike: nothing left, controls, spaces of
    any kind, unassigned or private code points, invisible format characters, `:` (ends the localpart of an
    alias) and `,` (separates channels). Folding a folded name changes nothing. docs/mapping.md 3.3, 3.4
    """
    if _PLAIN_ALIAS.fullmatch(localpart):
        return localpart.lower()  # nearly always
    if _SURROGATE.search(localpart):
        raise InvalidId("alias holds a lone surrogate")
    # Twice: lower-casing can make a pair that composes (H + macron below has no capital of its own, h has).
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", localpart).translate(_ASCII_LOWER))
    if not folded:
        raise InvalidId("alias is empty")
    for char in folded:
        # PRECIS (RFC 8264 9) refuses controls, unassigned, private use, old Hangul and default-ignorable code
        # points everywhere; IdentifierClass refuses spaces too. Categories beginning with C and Z are these.
        if unicodedata.category(char)[0] in "CZ" or char in ":,":
            raise InvalidId("alias holds a character that a room name cannot have")
    return folded


# ASCII without controls, the space, `,` and `:`.
_PLAIN_ALIAS: Final = re.compile(r"[!-+\--9;-~]+")
_ASCII_LOWER: Final = {code: code + 32 for code in range(0x41, 0x5B)}


def check_new_account_name(
    name: str, server: ServerName, taken_skeletons: Container[str] = frozenset()
) -> UserId:
    """The user id that a new account of this name would have. Raise InvalidId, saying why, if it may not be
    made.

    `taken_skeletons` holds skeleton(localpart) of every account there is; the name itself being taken shows
    in it as well. The same rule for registration over each protocol. docs/mapping.md 1.2
    """
    if not _NEW_ACCOUNT.match(name):
        raise InvalidId("a name is 1 to 32 of a-z 0-9 . _ - and begins with a letter")
    shape = skeleton(name)
    if name in RESERVED_ACCOUNT_NAMES or shape in _RESERVED_SKELETONS or shape == skeleton(server.lower()):
        raise InvalidId("this name is reserved")
    if shape in taken_skeletons:
        raise InvalidId("this name is taken or looks like one that is")
    return make_user_id(name, server)


_RESERVED_SKELETONS: Final = frozenset(skeleton(name) for name in RESERVED_ACCOUNT_NAMES)
