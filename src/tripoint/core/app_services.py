"""Application services: what their registrations say, and whose a name is. Pure.

A registration is what an operator wrote down for a program (a bridge, a bot): the two secrets, who it speaks as, and
its namespaces of users, aliases and rooms. Reading the files is config/app_services.py.
spec: Matrix application-service-api "Registration", "Server admin style permissions"
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tripoint.core.errors import PeerError
from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, make_user_id
from tripoint.core.notices import notices_user
from tripoint.core.stand_ins import stand_in_id
from tripoint.core.vendor import V

# What a registration's own id may be: it stands in addresses (ping) and in the store.
_MAX_ID: Final = 255
_LOCALPART: Final = re.compile(r"[!-9;-@\[-~]{1,200}")
# spec: appendices identifier-grammar: what a pattern for whole identifiers begins with.
_SIGILS: Final = {"users": "@", "aliases": "#", "rooms": "!"}
# Characters of a pattern that stand for themselves, or (a dot) for any.
_LITERAL: Final = re.compile(r"(?:[A-Za-z0-9@#!:_=/,~ %&'\"<>;-]|\\[^A-Za-z0-9]|\.(?!\+))(?![*?{])")
# What may follow where two patterns agree, to see whether both take one name.
_TAILS: Final = ("", "x", "0", "a0", "bot", "Z", "x_y")


class BadRegistration(PeerError):
    """A registration that cannot be used; the text says why, for the operator who wrote it."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A pattern of names. As everywhere, a name is inside when the pattern matches from its beginning; `exclusive`:
    nobody else makes such names."""

    pattern: re.Pattern[str]
    exclusive: bool

    def has(self, name: str) -> bool:
        return self.pattern.match(name) is not None


@dataclass(frozen=True, slots=True)
class AppService:
    """A registration. `sender`: the user whom it is; `url` None: nothing is sent to it; `bot`: its users are shown as
    bots. The tokens do not show themselves."""

    service_id: str
    url: str | None
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender: UserId
    server: ServerName
    users: tuple[Namespace, ...] = ()
    aliases: tuple[Namespace, ...] = ()
    rooms: tuple[Namespace, ...] = ()
    rate_limited: bool = True
    receive_ephemeral: bool = False
    protocols: tuple[str, ...] = ()
    bot: bool = False

    def covers_user(self, user_id: UserId) -> bool:
        """Whether a user is the service's to speak for. spec: "can only register interest in local users" """
        if user_id == self.sender:
            return True
        return self._is_local(user_id) and any(one.has(user_id) for one in self.users)

    def owns_user(self, user_id: UserId) -> bool:
        """Whether a user is the service's alone."""
        if user_id == self.sender:
            return True
        return self._is_local(user_id) and any(one.exclusive and one.has(user_id) for one in self.users)

    def _is_local(self, user_id: str) -> bool:
        """Of anything that a state key may be."""
        return user_id.partition(":")[2] == self.server

    def covers_alias(self, alias: RoomAlias) -> bool:
        return any(one.has(alias) for one in self.aliases)

    def owns_alias(self, alias: RoomAlias) -> bool:
        return any(one.exclusive and one.has(alias) for one in self.aliases)

    def covers_room(self, room_id: RoomId) -> bool:
        return any(one.has(room_id) for one in self.rooms)


class AppServices:
    """The application services of a server. Raises BadRegistration where two cannot stand beside each other."""

    def __init__(self, services: Sequence[AppService] = ()) -> None:
        for number, one in enumerate(services):
            for other in services[:number]:
                _check_pair(other, one)
        self.all = tuple(services)
        # By a digest: how long looking one up takes says nothing about tokens.
        self._by_token = {_digest(one.as_token): one for one in services}
        self._by_id = {one.service_id: one for one in services}

    def of_token(self, token: str) -> AppService | None:
        """The service whose as_token this is."""
        return self._by_token.get(_digest(token)) if self._by_token else None

    def named(self, service_id: str) -> AppService | None:
        return self._by_id.get(service_id)

    def owner_of(self, user_id: UserId) -> AppService | None:
        """The service whose alone a user is, here or not yet here."""
        return next((one for one in self.all if one.owns_user(user_id)), None)

    def may_speak_as(self, service: AppService, user_id: UserId) -> bool:
        """Whether a user is one of those whom a service speaks for. spec: "Registration": of exclusive namespaces
        services are "the only ones who can manage a specified namespace" """
        return service.covers_user(user_id) and self.owner_of(user_id) in (None, service)

    def owner_of_alias(self, alias: RoomAlias) -> AppService | None:
        return next((one for one in self.all if one.owns_alias(alias)), None)

    def may_name(self, user_id: UserId, alias: RoomAlias) -> bool:
        """Whether somebody may make or take away an alias: no service has it for its own users alone."""
        owner = self.owner_of_alias(alias) if self.all else None
        return owner is None or owner.covers_user(user_id)

    def is_bot(self, user_id: UserId) -> bool:
        """Whether others are told that a user is a program."""
        return any(one.bot and one.owns_user(user_id) for one in self.all)

    def is_unlimited(self, user_id: UserId) -> bool:
        """Whether no limits hold for a user. spec: rate_limited: "The sender is excluded."

        Of people who have an account of their own, and whom a service may speak for as well, the usual limits hold.
        """
        owner = self.owner_of(user_id) if self.all else None
        return owner is not None and (not owner.rate_limited or user_id == owner.sender)


NO_SERVICES: Final = AppServices()


def read_registration(data: object, server: ServerName) -> AppService:
    """A registration, as YAML gives it. Raises BadRegistration. spec: definitions/registration.yaml"""
    if not isinstance(data, dict):
        raise BadRegistration("it is no map of settings, like `id: irc`")
    service_id, as_token, hs_token = _text(data, "id"), _text(data, "as_token"), _text(data, "hs_token")
    if len(service_id) > _MAX_ID or "/" in service_id or "|" in service_id or not service_id.isprintable():
        raise BadRegistration(f"id has at most {_MAX_ID} characters, no / and no |")
    for name, token in (("as_token", as_token), ("hs_token", hs_token)):
        if not token.isascii() or not token.isprintable() or " " in token:
            raise BadRegistration(f"{name} is one word of ASCII: it goes into a header")
    if hmac.compare_digest(as_token, hs_token):
        raise BadRegistration("as_token and hs_token are two different secrets")
    if "url" not in data:
        raise BadRegistration("url is missing; `url: null` for a service that nothing is sent to")
    localpart = _text(data, "sender_localpart")
    if _LOCALPART.fullmatch(localpart) is None:
        raise BadRegistration("sender_localpart is the part before the colon of a user id, in lower case, without @")
    spaces = data.get("namespaces")
    if not isinstance(spaces, dict):
        raise BadRegistration("namespaces is missing, a map with users, aliases and rooms")
    users = _namespaces(spaces, "users")
    protocols = data.get("protocols")
    protocols = [] if protocols is None else protocols
    if not isinstance(protocols, list) or not all(isinstance(one, str) and one for one in protocols):
        raise BadRegistration("protocols is a list of names")
    own = {"people of other XMPP servers": stand_in_id("a@b.c", server), "its notices": notices_user(server)}
    for whom, name in own.items():
        if any(one.exclusive and one.has(name) for one in users):
            raise BadRegistration(f"namespaces.users has names that the server keeps for {whom}")
    try:
        sender = make_user_id(localpart, server)
    except PeerError as error:
        raise BadRegistration(f"sender_localpart: {error}") from error
    return AppService(
        service_id=service_id,
        url=_url(data["url"]),
        as_token=as_token,
        hs_token=hs_token,
        sender=sender,
        server=server,
        users=users,
        aliases=_namespaces(spaces, "aliases"),
        rooms=_namespaces(spaces, "rooms"),
        rate_limited=_flag(data, "rate_limited", True),
        receive_ephemeral=_flag(data, "receive_ephemeral", False)
        # COMPAT: what bridges write who know it by its proposal (MSC2409), for older servers.
        or _flag(data, "de.sorunome.msc2409.push_ephemeral", False),
        protocols=tuple(dict.fromkeys(protocols)),
        bot=_flag(data, f"{V}.bot", False),
    )


def _text(data: dict[object, object], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise BadRegistration(f"{key} is missing" if value is None else f"{key} must be a text; put it in quotes")
    return value


def _flag(data: dict[object, object], key: str, default: bool) -> bool:
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRegistration(f"{key} is true or false")
    return value


def _url(value: object) -> str | None:
    """Without a slash at its end; None for none. spec: "May include a path after the domain name" """
    if value is None or value == "":
        return None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        usable = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not isinstance(value, str) or parts is None or parts.query or parts.fragment:
        raise BadRegistration('url is an address like "http://127.0.0.1:29317", or null')
    if "@" in parts.netloc or not value.isascii() or not value.isprintable() or " " in value:
        raise BadRegistration("url has no user name, no spaces and ASCII alone")
    return value.rstrip("/")


def _namespaces(spaces: dict[object, object], kind: str) -> tuple[Namespace, ...]:
    listed = spaces.get(kind)
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise BadRegistration(f"namespaces.{kind} is a list")
    found = []
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("regex"), str) or not one["regex"]:
            raise BadRegistration(f"every one of namespaces.{kind} has a regex")
        if not isinstance(one.get("exclusive"), bool):
            raise BadRegistration(f"every one of namespaces.{kind} says exclusive: true or false")
        try:
            pattern = re.compile(one["regex"])
        except re.error as error:
            raise BadRegistration(f"{one['regex']!r} in namespaces.{kind} is no regular expression: {error}") from error
        found.append(Namespace(pattern, one["exclusive"]))
    return tuple(found)


def _check_pair(one: AppService, other: AppService) -> None:
    """spec: "each `as_token` and `id` MUST be unique per application service" """
    if one.service_id == other.service_id:
        raise BadRegistration(f"two services have the id {one.service_id}")
    if hmac.compare_digest(one.as_token, other.as_token):
        raise BadRegistration(f"{one.service_id} and {other.service_id} have the same as_token")
    if one.sender == other.sender:
        raise BadRegistration(f"{one.service_id} and {other.service_id} have the same sender_localpart")
    for owner, guest in ((one, other), (other, one)):
        if owner.owns_user(guest.sender):
            whose = f"{guest.sender}, the sender of {guest.service_id}"
            raise BadRegistration(f"{whose}, is in an exclusive namespace of {owner.service_id}")
    for kind, mine, theirs in (("users", one.users, other.users), ("aliases", one.aliases, other.aliases)):
        for first in mine:
            for second in theirs:
                name = _in_both(first, second, kind, one.server) if first.exclusive and second.exclusive else None
                if name is not None:
                    text = f"{one.service_id} and {other.service_id} both have {name} for themselves"
                    raise BadRegistration(f"{text} ({first.pattern.pattern}, {second.pattern.pattern})")


def _in_both(one: Namespace, other: Namespace, kind: str, server: ServerName) -> str | None:
    """A name that both namespaces have; None: none was found. Whether two patterns have any name in common is tried
    with names that begin as they do: it finds what people write, and what it does not find goes to the service that
    the configuration names first."""
    begins = {_begin(one.pattern.pattern, kind), _begin(other.pattern.pattern, kind)}
    for begin in sorted(begins, key=len, reverse=True):
        for tail in _TAILS:
            whole = begin if ":" in begin else f"{begin}{tail}:{server}"
            if one.has(whole) and other.has(whole):
                return whole
    return None


def _begin(pattern: str, kind: str) -> str:
    """What every name that a pattern matches begins with, as far as it is written out."""
    at, found = 1 if pattern.startswith("^") else 0, []
    if "|" not in pattern:
        while (literal := _LITERAL.match(pattern, at)) is not None:
            found.append(literal.group()[-1])
            at = literal.end()
    text = "".join(found)
    return text if text.startswith(_SIGILS[kind]) else _SIGILS[kind]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
