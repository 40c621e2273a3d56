"""XMPP addresses: parsing and preparing JIDs, escaping localparts, and users and rooms as JIDs.

spec: RFC7622 3 (parts and their preparation), XEP-0106 (escaping), docs/mapping.md 1.1, 1.4, 1.5, 3.1-3.5.
Not here: nicks in rooms, and which of a room's names is used (projection.py).
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tripoint.core.errors import PeerError
from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    RoomId,
    ServerName,
    UserId,
    fold_alias_localpart,
    make_room_alias,
    make_user_id,
    parse_room_id,
    parse_server_name,
    split_room_alias,
    split_user_id,
)
from tripoint.core.notices import writes_notices
from tripoint.core.precis import PrecisError, prepare_opaque, prepare_username, without_invisible
from tripoint.core.stand_ins import stand_in_address, stand_in_id

MAX_PART_BYTES: Final = 1023  # spec: RFC7622 3.2, 3.3, 3.4


class InvalidJid(PeerError):
    """A string that is not a JID. The text says which part is wrong."""


@dataclass(frozen=True, slots=True)
class Jid:
    """A prepared address. `local` is empty for a server, `resource` for a bare JID."""

    local: str
    domain: str
    resource: str

    @property
    def bare(self) -> "Jid":
        return Jid(self.local, self.domain, "") if self.resource else self

    def with_resource(self, resource: str) -> "Jid":
        """The full JID with a resource that is prepared already."""
        return Jid(self.local, self.domain, resource)

    def __str__(self) -> str:
        text = f"{self.local}@{self.domain}" if self.local else self.domain
        return f"{text}/{self.resource}" if self.resource else text


@lru_cache(maxsize=4096)
def parse_jid(text: str) -> Jid:
    """The prepared JID. Raises InvalidJid. spec: RFC7622 3.1 (the first "/" and then the first "@" split)."""
    rest, slash, resource = text.partition("/")
    local, at, domain = rest.partition("@")
    if not at:
        local, domain = "", rest
    elif not local:
        raise InvalidJid("the part before @ is empty")
    if slash and not resource:
        raise InvalidJid("the resource is empty")
    return Jid(
        prepare_local(local) if at else "",
        prepare_domain(domain),
        prepare_resource(resource) if slash else "",
    )


_FORBIDDEN_LOCAL = re.compile("[\"&'/:<>@ ]")


def prepare_local(local: str) -> str:
    """A localpart, case-folded. Raises InvalidJid. spec: RFC7622 3.3.1"""
    try:
        prepared = prepare_username(local)
    except PrecisError as error:
        raise InvalidJid(f"the part before @ is not valid: {error}") from None
    if _FORBIDDEN_LOCAL.search(prepared):
        raise InvalidJid("the part before @ holds a character that must be escaped")
    _check_length(prepared)
    return prepared


@lru_cache(maxsize=4096)
def prepare_resource(resource: str) -> str:
    """A resourcepart; case is kept. Raises InvalidJid. spec: RFC7622 3.4.1

    COMPAT: what nobody sees is taken out where it would make the whole invalid, as Resourceprep did (RFC3920 B.3) and
    most servers still do: keyboards of phones put it behind a heart.
    """
    try:
        prepared = prepare_opaque(resource)
    except PrecisError as error:
        try:
            prepared = prepare_opaque(without_invisible(resource))
        except PrecisError:
            raise InvalidJid(f"the resource is not valid: {error}") from None
    _check_length(prepared)
    return prepared


def domain_in(address: str) -> str:
    """The prepared domain of an address; of its other parts it is only asked whether they are empty, for whoever is
    that domain answers for them. Raises InvalidJid. spec: RFC7622 3.1, RFC6120 8.3.3.8"""
    rest, slash, resource = address.partition("/")
    local, at, domain = rest.partition("@")
    if (slash and not resource) or (at and not local):
        raise InvalidJid("a part of the address is empty")
    return prepare_domain(domain if at else rest)


_DNS_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\Z")


def prepare_domain(domain: str) -> str:
    """A domainpart: lower case, U-labels, no final dot. Raises InvalidJid. spec: RFC7622 3.2.1"""
    if domain.startswith("["):
        try:
            return str(parse_server_name(domain)).lower()
        except InvalidId:
            raise InvalidJid("the address is not an IPv6 literal") from None
    folded = unicodedata.normalize("NFC", domain.lower()).replace("。", ".").removesuffix(".")
    labels = folded.split(".")
    for at, label in enumerate(labels):
        if label.startswith("xn--"):
            try:
                labels[at] = label = label.encode("ascii").decode("idna")
            except UnicodeError:
                raise InvalidJid("a label of the domain is not valid") from None
        if label.isascii():
            if len(label) > 63 or not _DNS_LABEL.match(label):
                raise InvalidJid("a label of the domain is not valid")
            continue
        try:
            if prepare_username(label) != label or len(label.encode()) > 252:
                raise InvalidJid("a label of the domain is not valid")
        except PrecisError:
            raise InvalidJid("a label of the domain is not valid") from None
    prepared = ".".join(labels)
    _check_length(prepared)
    return prepared


def _check_length(part: str) -> None:
    if not part or len(part.encode()) > MAX_PART_BYTES:
        raise InvalidJid("a part of the address is empty or longer than 1023 bytes")


# -- XEP-0106

_ESCAPE = {
    " ": "\\20",
    '"': "\\22",
    "&": "\\26",
    "'": "\\27",
    "/": "\\2f",
    ":": "\\3a",
    "<": "\\3c",
    ">": "\\3e",
    "@": "\\40",
}
_TO_ESCAPE = re.compile("[ \"&'/:<>@]|\\\\(?=20|22|25|26|27|2f|3a|3c|3e|40|5c)")
_ESCAPED = re.compile(r"\\(20|22|26|27|2f|3a|3c|3e|40|5c)")
_ESCAPED_PERCENT = re.compile(r"\\(20|22|25|26|27|2f|3a|3c|3e|40|5c)")


def escape_local(text: str) -> str:
    """`text` as a localpart: what a localpart may not hold is escaped. spec: XEP-0106 4.2

    A backslash is escaped only where it would read as an escape.
    """
    return _TO_ESCAPE.sub(lambda match: _ESCAPE.get(match.group(), "\\5c"), text)


def unescape_local(local: str) -> str:
    """The text that a localpart stands for. spec: XEP-0106 4.3"""
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), local)


def _escape_joined(text: str) -> str:
    """For localparts that join two names with `%`: a `%` of the names themselves is escaped too (mapping 1.4)."""
    return escape_local(text).replace("%", "\\25")


def _unescape_joined(local: str) -> str:
    return _ESCAPED_PERCENT.sub(lambda match: chr(int(match.group(1), 16)), local)


# -- users and rooms

# docs/mapping.md 2.2: remote names of this form are shown as they are, all others by their hash
_LITERAL_LOCALPART = re.compile(r"[a-z0-9_][a-z0-9._=/-]*\Z")


class SameServers:
    """Matrix servers whose people are those of the XMPP domain of their name: it is proven. docs/mapping.md 1.6"""

    def __init__(self) -> None:
        self.names: set[ServerName] = set()

    def server_of(self, domain: str) -> ServerName | None:
        """The server of this domain of users."""
        return ServerName(domain) if domain in self.names else None

    def server_of_rooms(self, domain: str) -> ServerName | None:
        """The server of this domain of rooms."""
        head, _, name = domain.partition(".")
        return self.server_of(name) if head == "rooms" else None


@dataclass(frozen=True, slots=True)
class Domains:
    """The three names under which this server is spoken to on XMPP, and which others are Matrix servers too."""

    server: ServerName  # users, and the server itself
    rooms: str  # the MUC service
    gateway: str  # users of other Matrix servers, outside rooms
    same: SameServers = field(default_factory=SameServers, compare=False)

    @classmethod
    def of(cls, server: ServerName) -> "Domains":
        """The default names below a server name (docs/mapping.md 0)."""
        return cls(server, f"rooms.{server}", f"matrix.{server}")

    def server_of_rooms(self, domain: str) -> ServerName | None:
        """Whose rooms are at this domain, if they are entered through this server."""
        return self.server if domain == self.rooms else self.same.server_of_rooms(domain)

    def has(self, domain: str) -> bool:
        """Whether this is one of them; others are other XMPP servers."""
        return domain in (self.server, self.rooms, self.gateway)


def user_jid(user_id: UserId, domains: Domains) -> str:
    """The bare JID of any user. docs/mapping.md 1.1, 1.5-1.7"""
    localpart, server = split_user_id(user_id)
    if server == domains.server:
        if (address := stand_in_address(user_id, server)) is not None:
            return address
        if writes_notices(user_id, server):
            return server  # docs/mapping.md 10.13
        return f"{escape_local(localpart)}@{server}"
    if server in domains.same.names and _LITERAL_LOCALPART.match(localpart):
        return f"{escape_local(localpart)}@{server}"
    if ":" not in server and _LITERAL_LOCALPART.match(localpart):
        return f"{_escape_joined(localpart)}%{server}@{domains.gateway}"
    digest = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).digest()
    return f"~{_base32(digest)}@{domains.gateway}"


def parse_user_jid(jid: Jid, domains: Domains) -> UserId | None:
    """The user behind a bare JID of ours, or of a domain that is a Matrix server too (1.6), or None: another domain, a
    server, or a hashed name.

    Says nothing about whether such a user exists.
    """
    if not jid.local:
        return None
    try:
        if jid.domain == domains.server:
            return make_user_id(unescape_local(jid.local), domains.server)
        if jid.domain == domains.gateway and not jid.local.startswith("~"):
            local, percent, server = jid.local.partition("%")
            if percent:
                return make_user_id(_unescape_joined(local), parse_server_name(_unescape_joined(server)))
        if (other := domains.same.server_of(jid.domain)) is not None:
            return make_user_id(unescape_local(jid.local), other)
    except InvalidId:
        return None
    return None


def parse_any_user_jid(jid: Jid, domains: Domains) -> UserId | None:
    """As parse_user_jid; of people of other XMPP servers, those who stand for them. docs/mapping.md 1.7"""
    if not jid.local or domains.has(jid.domain) or domains.same.server_of(jid.domain) is not None:
        return parse_user_jid(jid, domains)
    try:
        return stand_in_id(str(jid.bare), domains.server)
    except InvalidId:
        return None


def alias_jid_local(alias: RoomAlias, server: ServerName) -> str | None:
    """The localpart under which a room of this alias is entered; None where an alias has no such form."""
    name, alias_server = split_room_alias(alias)
    local = _escape_joined(name)
    if alias_server != server:
        local = f"{local}%{_escape_joined(alias_server)}"
    elif local.startswith("!"):
        return None  # would read as a room id
    try:
        return local if prepare_local(local) == local and not name[0].isspace() else None
    except InvalidJid:
        return None


def room_id_jid_local(room_id: RoomId) -> str:
    """The localpart of a room without a usable alias. docs/mapping.md 3.5"""
    return "!" + _base32(room_id.encode())


def parse_room_local(local: str, server: ServerName) -> RoomAlias | RoomId:
    """What the localpart of a room JID names. Raises InvalidJid. docs/mapping.md 3.1, 3.2, 3.5"""
    try:
        if local.startswith("!"):
            return parse_room_id(_unbase32(local[1:]))
        name, percent, alias_server = local.partition("%")
        if percent:
            return make_room_alias(_unescape_joined(name), parse_server_name(_unescape_joined(alias_server)))
        return make_room_alias(fold_alias_localpart(_unescape_joined(local)), server)
    except (InvalidId, UnicodeDecodeError, binascii.Error) as error:
        raise InvalidJid(f"this is not the name of a room: {error}") from None


def parse_room_jid(jid: Jid, domains: Domains) -> RoomAlias | RoomId | None:
    """What the address of a room names: one of ours, or of a server whose rooms are Matrix rooms (1.6, 23.4); None for
    any other address. Raises InvalidJid."""
    if jid.domain == domains.rooms:
        return parse_room_local(jid.local, domains.server)
    other = domains.same.server_of_rooms(jid.domain)
    if other is None or not jid.local or jid.local.startswith("!") or "%" in jid.local:
        return None
    try:
        return make_room_alias(fold_alias_localpart(_unescape_joined(jid.local)), other)
    except InvalidId as error:
        raise InvalidJid(f"this is not the name of a room: {error}") from None


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _unbase32(text: str) -> str:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8)).decode()
