"""No, in the words of XMPP: every refusal of the middle as a stanza error, and stanza errors as bytes.

spec: RFC6120 8.3 (stanza errors), docs/mapping.md 25. The sentence in <text/> is the refusal's own, the same on
every protocol. A test compares the tables with the closed sets that they map.
"""

from typing import Final

from tripoint.accounts.refusals import AccountRefusal, AccountRefused, NodeRefusal, NodeRefused
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.tables import BLOCKING_ERRORS_NS, PUBSUB_ERRORS_NS, STANZA_ERRORS_NS
from tripoint.xmpp.wire import escape_text

# spec: RFC6120 8.3.3: the type that goes with each condition, where a handler has no reason for another
_USUAL_TYPE: Final = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "cancel",
    "unexpected-request": "wait",
}
CONDITIONS: Final = frozenset(_USUAL_TYPE)

REFUSALS: Final[dict[Refusal, str | tuple[str, str]]] = {
    Refusal.BANNED: "forbidden",
    Refusal.NOT_INVITED: "registration-required",
    Refusal.WRONG_ROOM_PASSWORD: "not-authorized",
    Refusal.ROOM_FULL: ("service-unavailable", "wait"),
    Refusal.TOO_MANY_ROOMS: "resource-constraint",
    Refusal.GUESTS_FORBIDDEN: "forbidden",
    Refusal.FOREIGNERS_FORBIDDEN: "not-allowed",
    Refusal.NO_SUCH_ROOM: "item-not-found",
    Refusal.CREATION_OFF: "not-allowed",
    Refusal.ALIAS_TAKEN: "conflict",
    Refusal.ALIAS_EXCLUSIVE: "not-allowed",
    Refusal.BAD_ALIAS: "jid-malformed",
    Refusal.NO_SUCH_ALIAS: "item-not-found",
    Refusal.POWER_TOO_LOW: "forbidden",
    Refusal.RANK_IMPOSSIBLE: "not-allowed",
    Refusal.SAME_POWER: "not-allowed",
    Refusal.NO_AUTHORITY: "not-allowed",
    Refusal.CANNOT_SPEAK: "forbidden",
    Refusal.SLOW_MODE: ("policy-violation", "wait"),  # spec: XEP-0500 6
    Refusal.SERVER_DENIED: "forbidden",
    Refusal.NOT_JOINED: "not-acceptable",
    Refusal.ALREADY_JOINED: "conflict",
    Refusal.TARGET_NOT_JOINED: "item-not-found",
    Refusal.NO_SUCH_USER: "item-not-found",
    Refusal.NO_SUCH_EVENT: "item-not-found",
    Refusal.ALREADY_REACTED: "conflict",
    Refusal.NO_THREAD_THERE: "not-acceptable",
    Refusal.BAD_MASK: "not-acceptable",
    Refusal.NO_SUCH_MASK: "item-not-found",
    Refusal.LIST_FULL: "resource-constraint",
    Refusal.NOTICES_STAY: "not-allowed",
    Refusal.INVITES_BLOCKED: ("not-acceptable", "cancel"),
    Refusal.BLOCKED: ("not-acceptable", "cancel"),  # spec: XEP-0191 3.3
    Refusal.TLS_NEEDED: ("policy-violation", "cancel"),
    Refusal.NICK_TAKEN: "conflict",
    Refusal.BAD_NICK: "not-acceptable",
    Refusal.REMOTE_TIMEOUT: "remote-server-timeout",
    Refusal.IDENTITY_SERVER_DENIED: "not-allowed",
    Refusal.BRIDGE_TIMEOUT: "remote-server-timeout",
    Refusal.ROOM_INCOMPATIBLE: "feature-not-implemented",
    Refusal.VERSION_UNSUPPORTED: "feature-not-implemented",
    Refusal.ENCRYPTED: ("not-acceptable", "cancel"),
    Refusal.TOO_LARGE: "policy-violation",
    Refusal.BAD_CONTENT: "bad-request",
    Refusal.INVALID_ROOM_STATE: "bad-request",
    Refusal.RATE_LIMITED: "resource-constraint",
    Refusal.NOT_SUPPORTED: "feature-not-implemented",
    Refusal.ACCOUNT_SUSPENDED: "forbidden",
    Refusal.TERMS_NOT_ACCEPTED: ("policy-violation", "modify"),
    Refusal.SERVER_BUSY: ("internal-server-error", "wait"),
}

ACCOUNT_REFUSALS: Final[dict[AccountRefusal, str | tuple[str, str]]] = {
    AccountRefusal.BAD_NAME: "not-acceptable",  # docs/mapping.md 1.2
    AccountRefusal.NAME_TAKEN: "conflict",  # spec: XEP-0077 3.1
    AccountRefusal.NAME_EXCLUSIVE: "not-acceptable",
    AccountRefusal.REGISTRATION_CLOSED: "not-allowed",
    AccountRefusal.REGISTRATION_TOKEN_NEEDED: "not-acceptable",
    AccountRefusal.BAD_REGISTRATION_TOKEN: "not-acceptable",
    AccountRefusal.BAD_PASSWORD: "not-acceptable",
    AccountRefusal.WRONG_CREDENTIALS: "not-authorized",
    AccountRefusal.DEACTIVATED: "forbidden",
    AccountRefusal.LOCKED: "forbidden",
    AccountRefusal.BANNED: "forbidden",
    AccountRefusal.TOO_MANY_BANS: "resource-constraint",
    AccountRefusal.BAD_VHOST: "not-acceptable",
    AccountRefusal.BAD_CERTIFICATE: "not-acceptable",
    AccountRefusal.CERTIFICATE_TAKEN: "conflict",
    AccountRefusal.TOO_MANY_APP_PASSWORDS: "resource-constraint",
    AccountRefusal.TOO_MANY_CERTIFICATES: "resource-constraint",
    AccountRefusal.GUESTS_OFF: "not-allowed",
    AccountRefusal.TOO_MANY_PUSHERS: "resource-constraint",
    AccountRefusal.TOO_MANY_GUESTS: "resource-constraint",
    AccountRefusal.UNKNOWN_TOKEN: "not-authorized",
    AccountRefusal.EXPIRED_TOKEN: "not-authorized",
    AccountRefusal.NO_SUCH_DEVICE: "item-not-found",
    AccountRefusal.NO_SUCH_ACCOUNT: "item-not-found",
    AccountRefusal.RATE_LIMITED: "resource-constraint",
    AccountRefusal.NO_MAIL: "not-allowed",
    AccountRefusal.BAD_EMAIL: "not-acceptable",
    AccountRefusal.EMAIL_NEEDED: "not-allowed",
    AccountRefusal.TERMS_NEEDED: "not-acceptable",
    AccountRefusal.EMAIL_IN_USE: "conflict",
    AccountRefusal.TOO_MANY_EMAILS: "resource-constraint",
    AccountRefusal.NOT_CONFIRMED: "not-acceptable",
    AccountRefusal.BAD_LINK: "item-not-found",
    AccountRefusal.MAIL_FAILED: ("internal-server-error", "wait"),
    AccountRefusal.TLS_REQUIRED: "policy-violation",
    AccountRefusal.SERVER_BUSY: ("internal-server-error", "wait"),
}

MEDIA_REFUSALS: Final[dict[MediaRefusal, str | tuple[str, str]]] = {
    MediaRefusal.TOO_LARGE: "not-acceptable",  # spec: XEP-0363 6
    MediaRefusal.QUOTA: "resource-constraint",
    MediaRefusal.TOO_MANY_PENDING: "resource-constraint",
    MediaRefusal.GUEST: "forbidden",
    MediaRefusal.NOT_FOUND: "item-not-found",
    MediaRefusal.NOT_YET_UPLOADED: "unexpected-request",
    MediaRefusal.ALREADY_UPLOADED: "conflict",
    MediaRefusal.NOT_YOURS: "forbidden",
    MediaRefusal.NOT_ANNOUNCED: "bad-request",
    MediaRefusal.NO_THUMBNAIL: "not-acceptable",
    MediaRefusal.IMAGE_TOO_LARGE: "not-acceptable",
    MediaRefusal.REMOTE_TOO_LARGE: "not-acceptable",
    MediaRefusal.REMOTE_FAILED: "remote-server-timeout",
    MediaRefusal.BAD_LINK: "bad-request",
    MediaRefusal.NO_PREVIEW: "item-not-found",
    MediaRefusal.TOO_MANY_PREVIEWS: "resource-constraint",
    MediaRefusal.SERVER_BUSY: ("internal-server-error", "wait"),
}

# Condition, type, and the element of XEP-0060 that says more. spec: XEP-0060 7.1.3, 7.1.5, 7.2.3, 8.1
NODE_REFUSALS: Final[dict[NodeRefusal, tuple[str, str, str]]] = {
    NodeRefusal.NO_SUCH_NODE: ("item-not-found", "cancel", ""),
    NodeRefusal.NO_SUCH_ITEM: ("item-not-found", "cancel", ""),
    NodeRefusal.NODE_EXISTS: ("conflict", "cancel", ""),
    NodeRefusal.PRECONDITION: ("conflict", "cancel", "precondition-not-met"),
    NodeRefusal.NOT_PERSISTENT: ("feature-not-implemented", "cancel", "unsupported"),
    NodeRefusal.BAD_NAME: ("not-acceptable", "modify", ""),
    NodeRefusal.TOO_MANY_NODES: ("not-allowed", "cancel", "max-nodes-exceeded"),
    NodeRefusal.PAYLOAD_TOO_BIG: ("not-acceptable", "modify", "payload-too-big"),
    NodeRefusal.NOT_SUBSCRIBED: ("unexpected-request", "cancel", "not-subscribed"),  # spec: XEP-0060 6.2.3.2
    NodeRefusal.TOO_MANY_SUBSCRIPTIONS: ("policy-violation", "wait", "too-many-subscriptions"),
    NodeRefusal.FULL: ("not-allowed", "cancel", "max-items-exceeded"),
    NodeRefusal.BUSY: ("internal-server-error", "wait", ""),
}

# What a refused login is called inside SASL. spec: RFC6120 6.5
_SASL: Final[dict[AccountRefusal, str]] = {
    AccountRefusal.DEACTIVATED: "account-disabled",
    AccountRefusal.LOCKED: "account-disabled",
    # docs/mapping.md 18.3: as for an account that is suspended
    AccountRefusal.BANNED: "account-disabled",
    AccountRefusal.RATE_LIMITED: "temporary-auth-failure",
    AccountRefusal.SERVER_BUSY: "temporary-auth-failure",
    AccountRefusal.TLS_REQUIRED: "encryption-required",
    AccountRefusal.BAD_NAME: "not-authorized",
    AccountRefusal.EXPIRED_TOKEN: "credentials-expired",  # spec: XEP-0484 4.2
}


class Problem(Exception):
    """A stanza cannot be answered with a result; whoever dispatched it answers with an error stanza.

    `condition` is of RFC6120 8.3.3. `extra` is more XML inside <error/>, of our own making. `address` is the
    character data of <gone/> and <redirect/>.
    """

    def __init__(self, condition: str, text: str, kind: str = "", *, extra: str = "", address: str = "") -> None:
        super().__init__(text)
        self.condition = condition
        self.text = text
        self.kind = kind
        self.extra = extra
        self.address = address

    def render(self, by: str = "") -> str:
        """The <error/> element. spec: RFC6120 8.3.2"""
        kind = self.kind or _USUAL_TYPE[self.condition]
        who = f" by='{by}'" if by else ""
        inside = escape_text(self.address)
        named = (
            f"<{self.condition} xmlns='{STANZA_ERRORS_NS}'>{inside}</{self.condition}>"
            if inside
            else f"<{self.condition} xmlns='{STANZA_ERRORS_NS}'/>"
        )
        return (
            f"<error{who} type='{kind}'>{named}"
            f"<text xmlns='{STANZA_ERRORS_NS}' xml:lang='en'>{escape_text(self.text)}</text>{self.extra}</error>"
        )


def problem_of(refused: Refused | AccountRefused | NodeRefused | MediaRefused) -> Problem:
    """The stanza error that says what the middle said."""
    if isinstance(refused, NodeRefused):
        condition, kind, detail = NODE_REFUSALS[refused.refusal]
        # spec: XEP-0060 7.2.3.5: which feature the node would need
        feature = " feature='persistent-items'" if detail == "unsupported" else ""
        more = f"<{detail} xmlns='{PUBSUB_ERRORS_NS}'{feature}/>" if detail else ""
        return Problem(condition, refused.text, kind, extra=more)
    if isinstance(refused, Refused):
        answer = REFUSALS[refused.refusal]
    elif isinstance(refused, MediaRefused):
        answer = MEDIA_REFUSALS[refused.refusal]
    else:
        answer = ACCOUNT_REFUSALS[refused.refusal]
    extra = f"<blocked xmlns='{BLOCKING_ERRORS_NS}'/>" if refused.refusal is Refusal.BLOCKED else ""
    if isinstance(answer, tuple):
        return Problem(answer[0], refused.text, answer[1], extra=extra)
    return Problem(answer, refused.text)


def sasl_condition(refused: AccountRefused) -> str:
    """The name of a failed login in SASL; whatever has no other is not-authorized."""
    return _SASL.get(refused.refusal, "not-authorized")
