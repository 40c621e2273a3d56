"""Every no of the middle in the words of IRC: a numeric, a standard reply, or both.

Standard replies go to clients with the capability; others get the numeric or, where there is none, a NOTICE
with the same text (docs/mapping.md 25).  The text is the middle's, on every protocol the same.
spec: docs/mapping.md 25, RFC2812 5.2, IRCv3 standard-replies, IRCv3 account-registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tripoint.accounts.refusals import AccountRefusal
from tripoint.irc import numerics as n
from tripoint.rooms.refusals import Refusal


@dataclass(frozen=True, slots=True)
class No:
    """How one refusal is said. At least one of the two is set; `code` is for FAIL."""

    numeric: str | None = None
    code: str | None = None


class IrcRefused(Exception):
    """A command was refused by the front end itself: a numeric with its parameters (the nick is added)."""

    def __init__(self, numeric: str, *params: str) -> None:
        super().__init__(numeric)
        self.numeric = numeric
        self.params = params


class Failed(Exception):
    """A command was refused with a standard reply: FAIL <command> <code> [context...] :text."""

    def __init__(self, code: str, *context: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.context = context
        self.text = text


ROOM_REFUSALS: Mapping[Refusal, No] = {
    Refusal.BANNED: No(n.ERR_BANNEDFROMCHAN),
    Refusal.NOT_INVITED: No(n.ERR_INVITEONLYCHAN),
    Refusal.WRONG_ROOM_PASSWORD: No(n.ERR_BADCHANNELKEY),
    Refusal.ROOM_FULL: No(n.ERR_CHANNELISFULL),
    Refusal.TOO_MANY_ROOMS: No(n.ERR_TOOMANYCHANNELS),
    Refusal.GUESTS_FORBIDDEN: No(n.ERR_NEEDREGGEDNICK),
    Refusal.FOREIGNERS_FORBIDDEN: No(code="INVITE_BLOCKED"),
    Refusal.NO_SUCH_ROOM: No(n.ERR_NOSUCHCHANNEL),
    Refusal.CREATION_OFF: No(n.ERR_NOSUCHCHANNEL),
    Refusal.ALIAS_TAKEN: No(code="CHANNEL_NAME_IN_USE"),
    Refusal.ALIAS_EXCLUSIVE: No(n.ERR_BADCHANMASK),
    Refusal.BAD_ALIAS: No(n.ERR_BADCHANMASK),
    Refusal.NO_SUCH_ALIAS: No(n.ERR_NOSUCHCHANNEL),
    Refusal.POWER_TOO_LOW: No(n.ERR_CHANOPRIVSNEEDED),
    Refusal.RANK_IMPOSSIBLE: No(n.ERR_CHANOPRIVSNEEDED),
    Refusal.SAME_POWER: No(n.ERR_CHANOPRIVSNEEDED),
    Refusal.NO_AUTHORITY: No(n.ERR_CHANOPRIVSNEEDED),
    Refusal.CANNOT_SPEAK: No(n.ERR_CANNOTSENDTOCHAN),
    Refusal.SLOW_MODE: No(n.ERR_CANNOTSENDTOCHAN),
    Refusal.SERVER_DENIED: No(n.ERR_CANNOTSENDTOCHAN),
    Refusal.NOT_JOINED: No(n.ERR_NOTONCHANNEL),
    Refusal.ALREADY_JOINED: No(n.ERR_USERONCHANNEL),
    Refusal.TARGET_NOT_JOINED: No(n.ERR_USERNOTINCHANNEL),
    Refusal.NO_SUCH_USER: No(n.ERR_NOSUCHNICK),
    Refusal.NO_SUCH_EVENT: No(code="UNKNOWN_MSGID"),
    Refusal.ALREADY_REACTED: No(code="INVALID_REACTION"),
    Refusal.NO_THREAD_THERE: No(code="INVALID_PARAMS"),
    Refusal.BAD_MASK: No(n.ERR_INVALIDMODEPARAM, "INVALID_PARAMS"),
    Refusal.NO_SUCH_MASK: No(n.ERR_INVALIDMODEPARAM, "INVALID_PARAMS"),
    Refusal.LIST_FULL: No(n.ERR_BANLISTFULL),
    Refusal.BLOCKED: No(code="BLOCKED"),
    Refusal.NOTICES_STAY: No(code="CANNOT_LEAVE"),
    Refusal.INVITES_BLOCKED: No(code="INVITE_BLOCKED"),
    Refusal.TLS_NEEDED: No(n.ERR_SECUREONLYCHAN),
    Refusal.NICK_TAKEN: No(n.ERR_NICKNAMEINUSE),
    Refusal.BAD_NICK: No(n.ERR_ERRONEUSNICKNAME),
    Refusal.REMOTE_TIMEOUT: No(n.ERR_UNAVAILRESOURCE),
    Refusal.IDENTITY_SERVER_DENIED: No(n.ERR_UNAVAILRESOURCE),
    Refusal.BRIDGE_TIMEOUT: No(n.ERR_UNAVAILRESOURCE),
    Refusal.ROOM_INCOMPATIBLE: No(n.ERR_NOSUCHCHANNEL, "UNSUPPORTED_VERSION"),
    Refusal.VERSION_UNSUPPORTED: No(n.ERR_NOSUCHCHANNEL, "UNSUPPORTED_VERSION"),
    Refusal.ENCRYPTED: No(n.ERR_NEEDREGGEDNICK, "ENCRYPTED"),
    Refusal.TOO_LARGE: No(n.ERR_INPUTTOOLONG),
    Refusal.BAD_CONTENT: No(code="INVALID_PARAMS"),
    Refusal.INVALID_ROOM_STATE: No(code="INVALID_PARAMS"),
    Refusal.RATE_LIMITED: No(code="RATE_LIMITED"),
    Refusal.NOT_SUPPORTED: No(code="NOT_SUPPORTED"),
    Refusal.ACCOUNT_SUSPENDED: No(code="ACCOUNT_SUSPENDED"),
    Refusal.TERMS_NOT_ACCEPTED: No(code="TERMS_NOT_ACCEPTED"),
    Refusal.SERVER_BUSY: No(code="TEMPORARILY_UNAVAILABLE"),
}

# Numerics that name a nick and then the channel; of the others, which name the nick alone.
NAMES_NICK_AND_CHANNEL = frozenset({n.ERR_USERONCHANNEL, n.ERR_USERNOTINCHANNEL})
NAMES_NICK = frozenset({n.ERR_NOSUCHNICK, n.ERR_NICKNAMEINUSE, n.ERR_ERRONEUSNICKNAME})
NAMES_NOTHING = frozenset({n.ERR_INPUTTOOLONG})

ACCOUNT_REFUSALS: Mapping[AccountRefusal, No] = {
    AccountRefusal.BAD_NAME: No(code="BAD_ACCOUNT_NAME"),
    AccountRefusal.NAME_TAKEN: No(code="ACCOUNT_EXISTS"),
    AccountRefusal.NAME_EXCLUSIVE: No(code="BAD_ACCOUNT_NAME"),
    AccountRefusal.REGISTRATION_CLOSED: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.REGISTRATION_TOKEN_NEEDED: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.BAD_REGISTRATION_TOKEN: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.BAD_PASSWORD: No(code="UNACCEPTABLE_PASSWORD"),
    AccountRefusal.WRONG_CREDENTIALS: No(n.ERR_PASSWDMISMATCH, "INVALID_CREDENTIALS"),
    AccountRefusal.DEACTIVATED: No(n.ERR_YOUREBANNEDCREEP, "ACCOUNT_SUSPENDED"),
    AccountRefusal.LOCKED: No(n.ERR_YOUREBANNEDCREEP, "ACCOUNT_SUSPENDED"),
    AccountRefusal.BANNED: No(n.ERR_YOUREBANNEDCREEP, "ACCOUNT_SUSPENDED"),
    AccountRefusal.TOO_MANY_BANS: No(n.ERR_BANLISTFULL),
    AccountRefusal.BAD_VHOST: No(code="INVALID_PARAMS"),
    AccountRefusal.BAD_CERTIFICATE: No(code="INVALID_PARAMS"),
    AccountRefusal.CERTIFICATE_TAKEN: No(code="INVALID_PARAMS"),
    AccountRefusal.TOO_MANY_APP_PASSWORDS: No(code="LIMIT_REACHED"),
    AccountRefusal.TOO_MANY_CERTIFICATES: No(code="LIMIT_REACHED"),
    AccountRefusal.GUESTS_OFF: No(code="ACCOUNT_REQUIRED"),
    AccountRefusal.TOO_MANY_PUSHERS: No(code="LIMIT_REACHED"),
    AccountRefusal.TOO_MANY_GUESTS: No(code="ACCOUNT_REQUIRED"),
    AccountRefusal.UNKNOWN_TOKEN: No(n.ERR_PASSWDMISMATCH, "INVALID_CREDENTIALS"),
    AccountRefusal.EXPIRED_TOKEN: No(n.ERR_PASSWDMISMATCH, "INVALID_CREDENTIALS"),
    AccountRefusal.NO_SUCH_DEVICE: No(code="INVALID_PARAMS"),
    AccountRefusal.NO_SUCH_ACCOUNT: No(n.ERR_NOSUCHNICK, "INVALID_PARAMS"),
    AccountRefusal.RATE_LIMITED: No(code="RATE_LIMITED"),
    AccountRefusal.NO_MAIL: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.BAD_EMAIL: No(code="INVALID_EMAIL"),
    AccountRefusal.EMAIL_NEEDED: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.TERMS_NEEDED: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.EMAIL_IN_USE: No(code="UNACCEPTABLE_EMAIL"),
    AccountRefusal.TOO_MANY_EMAILS: No(code="LIMIT_REACHED"),
    AccountRefusal.NOT_CONFIRMED: No(code="UNACCEPTABLE_EMAIL"),
    AccountRefusal.BAD_LINK: No(code="INVALID_PARAMS"),
    AccountRefusal.MAIL_FAILED: No(code="TEMPORARILY_UNAVAILABLE"),
    AccountRefusal.TLS_REQUIRED: No(n.ERR_PASSWDMISMATCH, "TLS_REQUIRED"),
    AccountRefusal.SERVER_BUSY: No(code="TEMPORARILY_UNAVAILABLE"),
}
