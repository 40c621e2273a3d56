"""Every way in which an account operation is refused. Closed; each front end maps it whole.

What concerns what an account publishes (nodes.py) is NodeRefusal; only XMPP can ask for that.

The value is the sentence that the person sees, on every protocol the same.
"""

from enum import Enum

from tripoint.core.nodes import MAX_BYTES, MAX_NODES, MAX_PAYLOAD_BYTES, MAX_SUBSCRIPTIONS


class AccountRefusal(Enum):
    BAD_NAME = "A name has 1 to 32 of a-z, 0-9, '.', '_' and '-', and begins with a letter"
    NAME_TAKEN = "That name is taken"
    NAME_EXCLUSIVE = "That name is kept for a bridge of this server"
    REGISTRATION_CLOSED = "This server does not take new accounts; ask its administrator for one"
    REGISTRATION_TOKEN_NEEDED = "This server asks for a registration token"
    BAD_REGISTRATION_TOKEN = "That registration token is not valid"
    BAD_PASSWORD = "That password cannot be used: 1 to 512 characters, none of them a control character"
    WRONG_CREDENTIALS = "Wrong user name or password"
    DEACTIVATED = "This account was closed"
    LOCKED = "This account is locked"
    NO_SUCH_ACCOUNT = "There is no such account"
    BANNED = "You are banned from this server"
    TOO_MANY_BANS = "This server has as many bans as it can keep; take some off first"
    BAD_VHOST = "A host has one to four words of a-z, 0-9 and '-', with dots between them"
    BAD_CERTIFICATE = "The fingerprint of a certificate is its SHA-256: 64 hexadecimal digits, with colons or without"
    CERTIFICATE_TAKEN = "Another account logs in with that certificate; connect with it to show that it is yours"
    TOO_MANY_CERTIFICATES = "An account has at most 16 certificates; take some away first"
    TOO_MANY_APP_PASSWORDS = "An account has at most 20 app passwords; end some of their sessions first"
    GUESTS_OFF = "This server has no guests; log in with an account"
    TOO_MANY_PUSHERS = "An account has at most 50 pushers; take some away first"
    TOO_MANY_GUESTS = "Too many guests from your address"
    UNKNOWN_TOKEN = "This access token is not valid"
    EXPIRED_TOKEN = "This access token has expired"
    NO_SUCH_DEVICE = "There is no such device"
    RATE_LIMITED = "Too many attempts; try again later"
    NO_MAIL = "This server sends no mail"
    BAD_EMAIL = "That is no e-mail address that this server can write to"
    EMAIL_NEEDED = "A new account here needs an e-mail address; make it in a browser, or with a Matrix client"
    TERMS_NEEDED = "A new account here needs its terms to be accepted; make it in a browser, or with a Matrix client"
    EMAIL_IN_USE = "An account has this e-mail address already"
    TOO_MANY_EMAILS = "An account has at most 10 e-mail addresses; take some away first"
    NOT_CONFIRMED = "The e-mail address is not confirmed: open the link in the letter"
    BAD_LINK = "This link is not known, was used, or has expired"
    MAIL_FAILED = "The letter could not be sent; try again later"
    TLS_REQUIRED = "A password may only be sent over TLS"
    SERVER_BUSY = "The server cannot store this right now; nothing was changed"


class AccountRefused(Exception):
    """An account operation was refused; nothing was changed. `retry_after_ms` goes with RATE_LIMITED."""

    def __init__(
        self, refusal: AccountRefusal, text: str | None = None, *, retry_after_ms: int | None = None
    ) -> None:
        self.refusal = refusal
        self.text = text if text is not None else refusal.value
        self.retry_after_ms = retry_after_ms
        super().__init__(self.text)


class NodeRefusal(Enum):
    """Why not. The sentence is for the person who asked."""

    NO_SUCH_NODE = "There is no such node"
    NO_SUCH_ITEM = "There is no such item"
    NODE_EXISTS = "There is a node of this name already"
    PRECONDITION = "The node is not configured as you say it must be"
    NOT_PERSISTENT = "The node does not keep its items"
    BAD_NAME = "A node or an item needs a name of at most 1023 bytes"
    TOO_MANY_NODES = f"An account has at most {MAX_NODES} nodes"
    PAYLOAD_TOO_BIG = f"An item has at most {MAX_PAYLOAD_BYTES} bytes"
    NOT_SUBSCRIBED = "There is no such subscription"
    TOO_MANY_SUBSCRIPTIONS = f"The nodes of an account have at most {MAX_SUBSCRIPTIONS} subscriptions"
    FULL = f"All that an account publishes has at most {MAX_BYTES} bytes"
    BUSY = "The server cannot store this now"


class NodeRefused(Exception):
    """A request about a node was refused; nothing was changed."""

    def __init__(self, refusal: NodeRefusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.text = refusal.value


class KeyRefusal(Enum):
    """Why not, of keys, backups and messages to devices; only Matrix can ask for those."""

    KEY_REPLACED = "There is another one-time key of this name"
    TOO_MANY_KEYS = "A device has at most 1000 one-time keys"
    BAD_SIGNATURE = "A key is not signed as it must be"
    NO_MASTER_KEY = "There is no master key"
    KEY_IS_A_DEVICE = "A device has the same name as this key"
    TOO_LARGE = "A message to a device has at most 65536 bytes"
    TOO_MANY_DEVICES = "That is for too many devices at once"
    NO_SUCH_BACKUP = "There is no such key backup"
    WRONG_BACKUP = "That is not the current key backup"
    OTHER_BACKUP = "algorithm and version of a key backup cannot be changed"
    BACKUP_FULL = "A key backup has at most 1000000 keys"
    NO_SUCH_KEY = "There is no such key"
    NO_DEHYDRATED_DEVICE = "You have no dehydrated device"
    NOT_THE_DEHYDRATED_DEVICE = "That is not your dehydrated device"
    BUSY = "The server cannot store this now; nothing was changed"


class KeyRefused(Exception):
    """Nothing was changed. `current`: the current backup's version, with WRONG_BACKUP."""

    def __init__(self, refusal: KeyRefusal, text: str | None = None, *, current: str | None = None) -> None:
        self.refusal = refusal
        self.text = text if text is not None else refusal.value
        self.current = current
        super().__init__(self.text)
