"""Handlers of stanzas, declared where they are written; dispatch and service discovery read this table.

A handler says which IQ it answers, at which kind of address, which feature that is and which text it follows.
What disco#info advertises is collected from here, so nothing is advertised that nobody answers.
spec: RFC6120 8.2.3, 10.3; XEP-0030 3. Read next: router.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tripoint.xmpp.jid import Jid
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession


class At(Enum):
    """Kinds of addresses that this server answers for."""

    SERVER = "the server"
    ACCOUNT = "one's own account"
    USER = "another local account"
    ROOMS = "the MUC service"
    ROOM = "a room"
    OCCUPANT = "somebody in a room"
    GATEWAY = "the service of users of other Matrix servers"
    REMOTE = "a user of another Matrix server"
    ABROAD = "another XMPP server"


# What a handler of an IQ returns is the XML inside the result, or None where XmppSession.later() answers; it
# raises Problem for an error.
IqHandler = Callable[["XmppSession", Element, Jid], Awaitable[str | None]]
StanzaHandler = Callable[["XmppSession", Element, Jid], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class IqEntry:
    """One kind of IQ that is answered. `feature` is advertised where it stands; "" for none. `guests`: to guests
    too."""

    kind: str
    namespace: str
    element: str
    at: At
    feature: str
    spec: str
    handle: IqHandler
    guests: bool


@dataclass(frozen=True, slots=True)
class StanzaEntry:
    """One kind of presence or message that is handled, by its type ("" for none) and address."""

    kind: str
    at: At
    feature: str
    spec: str
    handle: StanzaHandler


IQS: Final[dict[tuple[str, str, str, At], IqEntry]] = {}
PRESENCES: Final[dict[tuple[str, At], StanzaEntry]] = {}
MESSAGES: Final[dict[tuple[str, At], StanzaEntry]] = {}
# Features without a stanza of their own to answer.
_FEATURES: Final[dict[At, set[str]]] = {}


def iq(
    kinds: str,
    namespace: str,
    element: str = "query",
    *,
    at: tuple[At, ...],
    spec: str,
    feature: str = "",
    guests: bool | None = None,
) -> Callable[[IqHandler], IqHandler]:
    """Declare a handler of IQs. `kinds` is "get", "set" or both with a space between.

    `guests`: whether it answers guests, too; None: not where an account or the server would keep something
    (XEP-0175 3).
    """

    def declare(handle: IqHandler) -> IqHandler:
        for kind in kinds.split():
            for place in at:
                key = (kind, namespace, element, place)
                assert key not in IQS, f"two handlers for {key}"
                keeps_nothing = kind == "get" or place not in (At.ACCOUNT, At.SERVER, At.USER)
                too = keeps_nothing if guests is None else guests
                IQS[key] = IqEntry(kind, namespace, element, place, feature, spec, handle, too)
        return handle

    return declare


def presence(*kinds: str, at: tuple[At, ...], spec: str, feature: str = "") -> Callable[[StanzaHandler], StanzaHandler]:
    """Declare a handler of presence of these types ("" is available)."""
    return _declare(PRESENCES, kinds, at, spec, feature)


def message(*kinds: str, at: tuple[At, ...], spec: str, feature: str = "") -> Callable[[StanzaHandler], StanzaHandler]:
    """Declare a handler of messages of these types ("normal" where there is no type)."""
    return _declare(MESSAGES, kinds, at, spec, feature)


def _declare(
    table: dict[tuple[str, At], StanzaEntry], kinds: tuple[str, ...], at: tuple[At, ...], spec: str, feature: str
) -> Callable[[StanzaHandler], StanzaHandler]:
    def declare(handle: StanzaHandler) -> StanzaHandler:
        for kind in kinds:
            for place in at:
                assert (kind, place) not in table, f"two handlers for {kind} at {place}"
                table[kind, place] = StanzaEntry(kind, place, feature, spec, handle)
        return handle

    return declare


def declare_feature(feature: str, *, at: tuple[At, ...], spec: str) -> None:
    """A feature that is there without a request that asks for it. `spec` says what it promises."""
    for place in at:
        _FEATURES.setdefault(place, set()).add(feature)


def features_at(place: At) -> Sequence[str]:
    """What disco#info says of this kind of address, sorted."""
    declared = len(IQS) + len(PRESENCES) + len(MESSAGES) + sum([len(features) for features in _FEATURES.values()])
    return _features_at(place, declared)


@lru_cache(maxsize=32)  # for every connection; nothing is declared any more once the handlers are imported
def _features_at(place: At, declared: int) -> tuple[str, ...]:
    found = set(_FEATURES.get(place, ()))
    entries: list[IqEntry | StanzaEntry] = [*IQS.values(), *PRESENCES.values(), *MESSAGES.values()]
    found.update(entry.feature for entry in entries if entry.at is place and entry.feature)
    return tuple(sorted(found))
