"""The two ways in which SASL is spoken in a stream: RFC 6120's, and the extensible one, which does more at once. Pure.

A profile knows its elements: how a login begins, and how challenges, failures and successes are written. The exchange
itself is accounts/sasl.py's, and what may come when is connection.py's.
spec: RFC6120 6; XEP-0388 2; XEP-0386 3 (what is bound with the login); XEP-0198 9 (what is resumed with it).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from tripoint.accounts.sasl import SaslCondition, SaslFailed
from tripoint.xmpp.acks import parse_boolean, parse_count
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.tables import BIND2_NS, CARBONS_NS, CSI_NS, FAST_NS, SASL2_NS, SASL_NS, SM_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

_EMPTY: Final = "="  # spec: RFC6120 6.4.2: a zero-length initial response
# What clients say of themselves is shown in lists of sessions.
_MAX_SAID: Final = 60
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


@dataclass(frozen=True, slots=True)
class UserAgent:
    """What a client says of itself. `id`: the same at every login of this installation. spec: XEP-0388 2.3"""

    id: str | None = None
    software: str = ""
    device: str = ""

    @property
    def name(self) -> str:
        """For a list of sessions; may be empty."""
        return " on ".join(part for part in (self.software, self.device) if part)


@dataclass(frozen=True, slots=True)
class BindRequest:
    """A resource to bind with the login, and what of it is switched on. spec: XEP-0386 3.2

    `manage`: None where stream management is not asked for, else whether it is to be resumable and for how long.
    """

    tag: str = ""
    carbons: bool = False
    inactive: bool = False
    manage: tuple[bool, int | None] | None = None


@dataclass(frozen=True, slots=True)
class FastUse:
    """A login by a token: `count` is that of its use where the client counts. spec: XEP-0484 3.4, 3.6"""

    count: int | None = None
    invalidate: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to happen once the login has succeeded. `resume`: (SM-ID, h); ("", 0) for one that cannot be read."""

    user_agent: UserAgent = UserAgent()
    fast: FastUse | None = None
    token_for: str | None = None  # the mechanism for which a token is wanted (XEP-0484 3.2)
    resume: tuple[str, int] | None = None
    bind: BindRequest | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that a client begins. `initial` None: its first message comes when it is asked for."""

    mechanism: str
    initial: bytes | None
    wishes: Wishes | None = None


def decode(text: str) -> bytes:
    """A SASL message. Raises SaslFailed for what is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslFailed(SaslCondition.INCORRECT_ENCODING, "The SASL message is not base64") from None


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Sasl1:
    """spec: RFC6120 6"""

    namespace = SASL_NS
    begins = "auth"

    @staticmethod
    def begin(element: Element) -> Begun:
        """An <auth/>. Raises SaslFailed."""
        text = element.text
        initial = None if not text.strip() else b"" if text == _EMPTY else decode(text)
        return Begun(element.get("mechanism") or "", initial)

    @staticmethod
    def response(element: Element) -> bytes:
        """A <response/>. Raises SaslFailed."""
        return b"" if element.text == _EMPTY else decode(element.text)

    @staticmethod
    def challenge(data: bytes) -> bytes:
        return f"<challenge xmlns='{SASL_NS}'>{_encode(data)}</challenge>".encode()

    @staticmethod
    def failure(condition: str, text: str) -> bytes:
        said = f"<text xml:lang='en'>{escape_text(text)}</text>"
        return f"<failure xmlns='{SASL_NS}'><{condition}/>{said}</failure>".encode()


    @staticmethod
    def success(data: bytes) -> bytes:
        """spec: RFC6120 6.4.6"""
        return f"<success xmlns='{SASL_NS}'>{_encode(data)}</success>".encode()


class Sasl2:
    """spec: XEP-0388"""

    namespace = SASL2_NS
    begins = "authenticate"

    @staticmethod
    def begin(element: Element) -> Begun:
        """An <authenticate/>. Raises SaslFailed. spec: XEP-0388 2.2, 2.3"""
        response = element.child("initial-response", SASL2_NS)
        initial = None if response is None else decode(response.text.strip())
        return Begun(element.get("mechanism") or "", initial, _wishes_of(element))

    @staticmethod
    def response(element: Element) -> bytes:
        return decode(element.text.strip())

    @staticmethod
    def challenge(data: bytes) -> bytes:
        return f"<challenge xmlns='{SASL2_NS}'>{_encode(data)}</challenge>".encode()

    @staticmethod
    def failure(condition: str, text: str) -> bytes:
        """spec: XEP-0388 2.6.2: the condition stays in the namespace of RFC 6120"""
        said = f"<text>{escape_text(text)}</text>"
        return f"<failure xmlns='{SASL2_NS}'><{condition} xmlns='{SASL_NS}'/>{said}</failure>".encode()

    @staticmethod
    def success(data: bytes, identity: str, more: str) -> bytes:
        """`identity`: a full JID where a resource is bound; `more`: what became of the wishes. spec: XEP-0388 2.6.1"""
        proof = f"<additional-data>{_encode(data)}</additional-data>" if data else ""
        named = f"<authorization-identifier>{escape_text(identity)}</authorization-identifier>"
        return f"<success xmlns='{SASL2_NS}'>{proof}{named}{more}</success>".encode()


Profile = type[Sasl1] | type[Sasl2]


def authentication_feature(mechanisms: tuple[str, ...], token_mechanisms: tuple[str, ...]) -> str:
    """What is offered over TLS. spec: XEP-0388 2.1, XEP-0386 3.1, XEP-0198 9, XEP-0484 3.1"""
    listed = "".join(f"<mechanism>{name}</mechanism>" for name in mechanisms)
    bound = "".join(f"<feature var='{escape_attribute(var)}'/>" for var in (CARBONS_NS, CSI_NS, SM_NS))
    bind = f"<bind xmlns='{BIND2_NS}'><inline>{bound}</inline></bind>"
    for_tokens = "".join(f"<mechanism>{name}</mechanism>" for name in token_mechanisms)
    fast = f"<fast xmlns='{FAST_NS}'>{for_tokens}</fast>"
    inline = f"<inline>{bind}<sm xmlns='{SM_NS}'/>{fast}</inline>"
    return f"<authentication xmlns='{SASL2_NS}'>{listed}{inline}</authentication>"


def _wishes_of(element: Element) -> Wishes:
    agent, resume = element.child("user-agent", SASL2_NS), element.child("resume", SM_NS)
    bind = element.child("bind", BIND2_NS)
    wanted = None
    if resume is not None:
        previd, h = resume.get("previd"), parse_count(resume.get("h"))
        wanted = (previd, h) if previd and h is not None else ("", 0)
    asked = element.child("request-token", FAST_NS)
    return Wishes(
        user_agent=_user_agent(agent),
        fast=_fast_use(element.child("fast", FAST_NS)),
        token_for=None if asked is None else asked.get("mechanism") or "",
        resume=wanted,
        bind=None if bind is None else _bind_request(bind),
    )


def _fast_use(element: Element | None) -> FastUse | None:
    """Raises SaslFailed for a count that is none. spec: XEP-0484 3.4, 3.6, 10"""
    if element is None:
        return None
    said = element.get("count")
    count = parse_count(said)
    if said is not None and count is None:
        raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "The count of a token's use is a number")
    return FastUse(count, parse_boolean(element.get("invalidate")))


def token_xml(token: str, expires_ts_ms: int) -> str:
    """A token that is given to a client. spec: XEP-0484 3.3"""
    attributes = f"expiry='{timestamp(expires_ts_ms)}' token='{escape_attribute(token)}'"
    return f"<token xmlns='{FAST_NS}' {attributes}/>"


def _user_agent(element: Element | None) -> UserAgent:
    if element is None:
        return UserAgent()
    its_id = element.get("id")

    def said(name: str) -> str:
        return (element.child_text(name, SASL2_NS) or "").strip()[:_MAX_SAID]

    known = its_id.lower() if its_id is not None and _UUID.match(its_id) else None
    return UserAgent(known, said("software"), said("device"))


def _bind_request(element: Element) -> BindRequest:
    manage = element.child("enable", SM_NS)
    return BindRequest(
        tag=(element.child_text("tag", BIND2_NS) or "").strip()[:_MAX_SAID],
        carbons=element.child("enable", CARBONS_NS) is not None,
        inactive=element.child("inactive", CSI_NS) is not None,
        manage=None if manage is None else (parse_boolean(manage.get("resume")), parse_count(manage.get("max"))),
    )
