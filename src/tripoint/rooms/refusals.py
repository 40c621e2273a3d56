"""Every way in which a room, or the server, says no. A closed set that each front end maps whole.

A refusal carries one sentence for the person who asked; IRC, XMPP and Matrix show the same sentence
(docs/mapping.md, section 25). The numerics, stanza errors and errcodes are not here: they are each front
end's refusals.py, and a test compares the sets.
"""

from enum import Enum


class Refusal(Enum):
    """Why something was not done. The value is the sentence shown when the raiser has no better one."""

    BANNED = "You are banned from this room"
    NOT_INVITED = "You need an invitation to enter this room"
    WRONG_ROOM_PASSWORD = "This room asks for another password"
    ROOM_FULL = "This room is full"
    TOO_MANY_ROOMS = "You are in too many rooms"
    GUESTS_FORBIDDEN = "Guests may not do this here; log in with an account"
    FOREIGNERS_FORBIDDEN = "People of other XMPP servers cannot enter this room"
    NO_SUCH_ROOM = "There is no such room"
    CREATION_OFF = "There is no such room, and it cannot be created here"
    ALIAS_TAKEN = "That room name is taken"
    ALIAS_EXCLUSIVE = "That room name is kept for a bridge of this server"
    BAD_ALIAS = "That is not a valid room name"
    NO_SUCH_ALIAS = "There is no such room name"
    POWER_TOO_LOW = "You do not have the rights to do this here"
    RANK_IMPOSSIBLE = "That rank cannot be given here"
    SAME_POWER = "They have the same rights as you or more"
    NO_AUTHORITY = "Not even an oper can forge room power: nobody of this server has the level"
    CANNOT_SPEAK = "You may not speak in this room"
    SLOW_MODE = "Slow mode: wait before you say more"
    SERVER_DENIED = "This server is denied here"
    NOT_JOINED = "You are not in this room"
    ALREADY_JOINED = "They are already in this room"
    TARGET_NOT_JOINED = "They are not in this room"
    NO_SUCH_USER = "There is no such user"
    NO_SUCH_EVENT = "There is no such message"
    ALREADY_REACTED = "You have reacted so already"
    NO_THREAD_THERE = "That message is about another one: no thread begins there"
    BAD_MASK = "That mask cannot be used"
    NO_SUCH_MASK = "That mask is not in the list"
    LIST_FULL = "The list is full"
    BLOCKED = "You have blocked them; unblock them to write to them"
    NOTICES_STAY = "What this server has to tell you cannot be declined"
    INVITES_BLOCKED = "They take no invitations"
    TLS_NEEDED = "This room is for connections with TLS alone"
    NICK_TAKEN = "Somebody else has that nick in this room"
    BAD_NICK = "That nick cannot be used"
    REMOTE_TIMEOUT = "The other server did not answer in time"
    BRIDGE_TIMEOUT = "The bridge that has this name did not answer in time"
    ROOM_INCOMPATIBLE = "This server does not know the version of that room"
    VERSION_UNSUPPORTED = "This server does not know that room version"
    ENCRYPTED = "End-to-end encrypted: open it in a Matrix client"
    TOO_LARGE = "That is too large to send"
    BAD_CONTENT = "That is not well-formed"
    INVALID_ROOM_STATE = "A room cannot begin like that"
    RATE_LIMITED = "You are sending too fast"
    IDENTITY_SERVER_DENIED = "This server does not speak to that identity server"
    NOT_SUPPORTED = "This server does not support that yet"
    ACCOUNT_SUSPENDED = "Your account is suspended"
    TERMS_NOT_ACCEPTED = "This server has something for you to read and accept first"
    SERVER_BUSY = "The server cannot store this right now; nothing was changed"


class Refused(Exception):
    """A command was refused and nothing was changed.

    `text` is shown to the person; `retry_after_ms` is set for RATE_LIMITED and SLOW_MODE, `where` (the address of a
    page) for TERMS_NOT_ACCEPTED.
    """

    def __init__(
        self, refusal: Refusal, text: str | None = None, *, retry_after_ms: int | None = None, where: str | None = None
    ) -> None:
        self.refusal = refusal
        self.text = text if text is not None else refusal.value
        self.retry_after_ms = retry_after_ms
        self.where = where
        super().__init__(self.text)
