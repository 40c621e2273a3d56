"""Which nick a user has and which channel name a room has on IRC: the rules, as pure functions.

What these give is stored by those who need it stable (nickmap, slugmap: MAPPING 0); here nothing is kept.
spec: MAPPING 1.5, 1.9, 2.2, 2.4, 3.1-3.5; RFC2812 2.3.1.  Read next: tripoint/irc/projection.py.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

from tripoint.core.ids import InvalidId, ServerName, UserId
from tripoint.core.notices import writes_notices
from tripoint.core.stand_ins import stand_in_address, stand_in_id
from tripoint.irc.tables import CHANNELLEN, NICKLEN

_ACCOUNT_NICK = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_LITERAL_LOCALPART = re.compile(r"[a-z0-9_][a-z0-9._=/-]*")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_FOREIGN = re.compile(r"[a-z_][a-z0-9._-]*\|[a-z0-9.-]+")
_MACHINE_LENGTH = 20
_SLUG_LENGTH = 20
_NOT_IN_A_CHANNEL = frozenset(" ,")


def is_nick(word: str) -> bool:
    """Whether a client may ask for `word`: RFC2812 2.3.1 without ``|`` (MAPPING 2.4), and with dots.

    The name of an account passes (accounts may hold dots); so does any nick of a guest.  Uniqueness and the
    reserved names are not checked here.  ASCII only: what looks alike must not be two nicks.
    """
    return bool(_NICK.fullmatch(word)) and len(word) <= NICKLEN


_NICK = re.compile(r"[A-Za-z_\[\]{}^\\`][A-Za-z0-9_\[\]{}^\\`.-]*")


def nick_of(user_id: str, local_server: str, displayname: str = "", *, machine_made: bool = False) -> str:
    """The nick of any user but a guest.  spec: MAPPING 2.2

    `machine_made` is True for users of an application service's namespace.  The result is valid as a nick
    on every wire, whatever bytes the id holds.
    """
    localpart, _, server = user_id[1:].partition(":")
    if server == local_server:
        if writes_notices(user_id, local_server):
            return local_server  # docs/mapping.md 10.13
        if (address := stand_in_address(UserId(user_id), ServerName(server))) is not None:
            # docs/mapping.md 1.7; nobody else's nick holds a `|`
            nick = address.replace("@", "|")
            return nick if _FOREIGN.fullmatch(nick) and len(nick) <= NICKLEN else slug_nick(user_id, displayname)
        return localpart if _ACCOUNT_NICK.fullmatch(localpart) else slug_nick(user_id, displayname)
    machine_made = machine_made or _looks_machine_made(localpart)
    literal = _LITERAL_LOCALPART.fullmatch(localpart) and _HOSTNAME.fullmatch(server)
    nick = f"{localpart}:{server}"
    if literal and not machine_made and len(nick) <= NICKLEN:
        return nick
    return slug_nick(user_id, displayname)


def foreign_user(word: str, local_server: str) -> UserId | None:
    """Who stands for the person of another XMPP server with this nick.  spec: MAPPING 1.7"""
    if not _FOREIGN.fullmatch(word.lower()):
        return None
    try:
        return stand_in_id(word.lower().replace("|", "@"), ServerName(local_server))
    except InvalidId:
        return None


def slug_nick(user_id: str, displayname: str = "", *, hash_length: int = 4) -> str:
    """``slug~h4:server``: what stands in for a nick that cannot be shown or is taken (MAPPING 2.2, 2.4)."""
    localpart, _, server = user_id[1:].partition(":")
    name = slug(displayname) or slug(localpart) or "user"
    # A server name can hold a port or brackets; as part of a nick they would break masks and targets.
    host = re.sub(r"[^A-Za-z0-9.-]", "-", server)[:NICKLEN] or "unknown"
    return f"{name}~{short_hash(user_id, hash_length)}:{host}"


def room_slug(room_id: str, name: str = "", members: tuple[str, ...] = ()) -> str:
    """``#~slug-b6`` for a room without an alias that IRC can show.  spec: MAPPING 3.5, 15.3"""
    text = slug(name) or "+".join(found for found in map(slug, members[:3]) if found) or "room"
    return f"#~{text[: 3 * _SLUG_LENGTH]}-{short_hash(room_id, 6)}"


def channel_of_alias(alias: str, local_server: str) -> str | None:
    """``#room`` (local) or ``#room:server`` (remote); None if IRC cannot carry the alias (MAPPING 3.4)."""
    localpart, _, server = alias[1:].partition(":")
    channel = f"#{localpart}" if server == local_server else f"#{localpart}:{server}"
    if server == local_server and localpart.startswith("~"):
        return None  # that is where room_slug lives
    return channel if localpart and is_channel(channel) else None


def alias_of_channel(channel: str, local_server: str) -> str | None:
    """The room alias that a channel name means, not folded; None for a slug or for no channel name at all."""
    if not is_channel(channel) or channel.startswith("#~"):
        return None
    localpart, colon, server = channel[1:].partition(":")
    if not localpart or (colon and not server):
        return None
    return f"#{localpart}:{server or local_server}"


def is_channel(word: str) -> bool:
    """``#`` and something, at most CHANNELLEN bytes, no space, comma or control character.

    Controls are refused beyond RFC2812 1.3 because formatting codes are (Modern IRC formatting "Names").
    """
    if len(word) <= CHANNELLEN and _PLAIN_CHANNEL.fullmatch(word):
        return True  # nearly always
    return (
        len(word) > 1
        and word[0] == "#"
        and len(word.encode("utf-8", "replace")) <= CHANNELLEN
        and not any(c in _NOT_IN_A_CHANNEL or unicodedata.category(c) in _UNSHOWABLE for c in word)
    )


_PLAIN_CHANNEL = re.compile(r"#[!-+\--~]+")
# Controls, format characters (bidi overrides too), lone surrogates, line and paragraph separators, spaces.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits joined by ``-``; "" if nothing of `text` survives."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-")


def _looks_machine_made(localpart: str) -> bool:
    digits = sum(character.isdigit() for character in localpart)
    return len(localpart) > _MACHINE_LENGTH or 2 * digits >= len(localpart)


def short_hash(text: str, length: int) -> str:
    """The first characters of a hash, lower-case letters and digits, that tells names apart."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:length]
