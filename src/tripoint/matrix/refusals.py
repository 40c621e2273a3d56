"""No, in Matrix: every refusal of rooms, accounts and media as status and errcode (docs/mapping.md 25)."""

from collections.abc import Iterator
from contextlib import contextmanager

from tripoint.accounts.refusals import AccountRefusal, AccountRefused, KeyRefusal, KeyRefused
from tripoint.core.errors import RemoteFailed
from tripoint.matrix.errors import MatrixError
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.rooms.identity import IdentityRefused
from tripoint.rooms.refusals import Refusal, Refused

ROOM_ERRORS: dict[Refusal, tuple[int, str]] = {
    Refusal.BANNED: (403, "M_FORBIDDEN"),
    Refusal.NOT_INVITED: (403, "M_FORBIDDEN"),
    Refusal.WRONG_ROOM_PASSWORD: (403, "M_FORBIDDEN"),
    Refusal.ROOM_FULL: (403, "M_FORBIDDEN"),
    Refusal.TOO_MANY_ROOMS: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    Refusal.FOREIGNERS_FORBIDDEN: (403, "M_FORBIDDEN"),
    Refusal.GUESTS_FORBIDDEN: (403, "M_GUEST_ACCESS_FORBIDDEN"),
    Refusal.NO_SUCH_ROOM: (404, "M_NOT_FOUND"),
    Refusal.CREATION_OFF: (404, "M_NOT_FOUND"),
    Refusal.ALIAS_TAKEN: (400, "M_ROOM_IN_USE"),
    Refusal.ALIAS_EXCLUSIVE: (400, "M_EXCLUSIVE"),
    Refusal.BAD_ALIAS: (400, "M_INVALID_PARAM"),
    Refusal.NO_SUCH_ALIAS: (404, "M_NOT_FOUND"),
    Refusal.POWER_TOO_LOW: (403, "M_FORBIDDEN"),
    Refusal.RANK_IMPOSSIBLE: (403, "M_FORBIDDEN"),
    Refusal.SAME_POWER: (403, "M_FORBIDDEN"),
    Refusal.NO_AUTHORITY: (403, "M_FORBIDDEN"),
    Refusal.CANNOT_SPEAK: (403, "M_FORBIDDEN"),
    Refusal.SLOW_MODE: (429, "M_LIMIT_EXCEEDED"),
    Refusal.SERVER_DENIED: (403, "M_FORBIDDEN"),
    Refusal.NOT_JOINED: (403, "M_FORBIDDEN"),
    Refusal.ALREADY_JOINED: (403, "M_FORBIDDEN"),
    Refusal.TARGET_NOT_JOINED: (403, "M_FORBIDDEN"),
    Refusal.NO_SUCH_USER: (404, "M_NOT_FOUND"),
    Refusal.NO_SUCH_EVENT: (404, "M_NOT_FOUND"),
    # spec: event-annotations "Avoiding duplicate annotations"; threading "Validation of m.thread relationships"
    Refusal.ALREADY_REACTED: (400, "M_DUPLICATE_ANNOTATION"),
    Refusal.NO_THREAD_THERE: (400, "M_UNKNOWN"),
    Refusal.BAD_MASK: (400, "M_INVALID_PARAM"),
    Refusal.NO_SUCH_MASK: (404, "M_NOT_FOUND"),
    Refusal.LIST_FULL: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    Refusal.BLOCKED: (403, "M_FORBIDDEN"),
    Refusal.NOTICES_STAY: (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"),
    Refusal.INVITES_BLOCKED: (403, "M_INVITE_BLOCKED"),
    Refusal.TLS_NEEDED: (403, "M_FORBIDDEN"),
    Refusal.NICK_TAKEN: (400, "M_INVALID_PARAM"),
    Refusal.BAD_NICK: (400, "M_INVALID_PARAM"),
    Refusal.REMOTE_TIMEOUT: (504, "M_UNKNOWN"),
    # spec: "Common error codes"
    Refusal.IDENTITY_SERVER_DENIED: (403, "M_SERVER_NOT_TRUSTED"),
    Refusal.BRIDGE_TIMEOUT: (408, "M_UNKNOWN"),  # spec: application-service-api "Querying"
    Refusal.ROOM_INCOMPATIBLE: (400, "M_INCOMPATIBLE_ROOM_VERSION"),
    Refusal.VERSION_UNSUPPORTED: (400, "M_UNSUPPORTED_ROOM_VERSION"),
    Refusal.ENCRYPTED: (403, "M_FORBIDDEN"),
    Refusal.TOO_LARGE: (413, "M_TOO_LARGE"),
    Refusal.BAD_CONTENT: (400, "M_BAD_JSON"),
    Refusal.INVALID_ROOM_STATE: (400, "M_INVALID_ROOM_STATE"),
    Refusal.RATE_LIMITED: (429, "M_LIMIT_EXCEEDED"),
    Refusal.NOT_SUPPORTED: (400, "M_UNKNOWN"),
    Refusal.ACCOUNT_SUSPENDED: (403, "M_USER_SUSPENDED"),
    # COMPAT: no errcode of the specification; clients show the page that Synapse sends along with this one.
    Refusal.TERMS_NOT_ACCEPTED: (403, "M_CONSENT_NOT_GIVEN"),
    Refusal.SERVER_BUSY: (503, "M_UNKNOWN"),
}

ACCOUNT_ERRORS: dict[AccountRefusal, tuple[int, str]] = {
    AccountRefusal.BAD_NAME: (400, "M_INVALID_USERNAME"),
    AccountRefusal.NAME_TAKEN: (400, "M_USER_IN_USE"),
    AccountRefusal.NAME_EXCLUSIVE: (400, "M_EXCLUSIVE"),
    AccountRefusal.TOO_MANY_PUSHERS: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    AccountRefusal.REGISTRATION_CLOSED: (403, "M_FORBIDDEN"),
    AccountRefusal.REGISTRATION_TOKEN_NEEDED: (401, "M_UNAUTHORIZED"),
    AccountRefusal.BAD_REGISTRATION_TOKEN: (401, "M_UNAUTHORIZED"),
    AccountRefusal.BAD_PASSWORD: (400, "M_WEAK_PASSWORD"),
    AccountRefusal.WRONG_CREDENTIALS: (403, "M_FORBIDDEN"),
    AccountRefusal.DEACTIVATED: (403, "M_USER_DEACTIVATED"),
    AccountRefusal.LOCKED: (401, "M_USER_LOCKED"),
    AccountRefusal.BANNED: (403, "M_FORBIDDEN"),
    AccountRefusal.TOO_MANY_BANS: (403, "M_RESOURCE_LIMIT_EXCEEDED"),
    AccountRefusal.BAD_VHOST: (400, "M_INVALID_PARAM"),
    AccountRefusal.BAD_CERTIFICATE: (400, "M_INVALID_PARAM"),
    AccountRefusal.CERTIFICATE_TAKEN: (400, "M_INVALID_PARAM"),
    AccountRefusal.TOO_MANY_APP_PASSWORDS: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    AccountRefusal.TOO_MANY_CERTIFICATES: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    AccountRefusal.GUESTS_OFF: (403, "M_GUEST_ACCESS_FORBIDDEN"),
    AccountRefusal.TOO_MANY_GUESTS: (403, "M_FORBIDDEN"),
    AccountRefusal.UNKNOWN_TOKEN: (401, "M_UNKNOWN_TOKEN"),
    AccountRefusal.EXPIRED_TOKEN: (401, "M_UNKNOWN_TOKEN"),
    AccountRefusal.NO_SUCH_DEVICE: (404, "M_NOT_FOUND"),
    AccountRefusal.NO_SUCH_ACCOUNT: (404, "M_NOT_FOUND"),
    AccountRefusal.RATE_LIMITED: (429, "M_LIMIT_EXCEEDED"),
    AccountRefusal.NO_MAIL: (403, "M_THREEPID_DENIED"),
    AccountRefusal.BAD_EMAIL: (400, "M_INVALID_PARAM"),
    AccountRefusal.EMAIL_NEEDED: (403, "M_FORBIDDEN"),
    AccountRefusal.TERMS_NEEDED: (403, "M_FORBIDDEN"),
    AccountRefusal.EMAIL_IN_USE: (400, "M_THREEPID_IN_USE"),
    AccountRefusal.TOO_MANY_EMAILS: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    AccountRefusal.NOT_CONFIRMED: (400, "M_THREEPID_AUTH_FAILED"),
    AccountRefusal.BAD_LINK: (400, "M_THREEPID_AUTH_FAILED"),
    AccountRefusal.MAIL_FAILED: (503, "M_UNKNOWN"),
    AccountRefusal.TLS_REQUIRED: (403, "M_FORBIDDEN"),
    AccountRefusal.SERVER_BUSY: (503, "M_UNKNOWN"),
}

# spec: client-server-api content-repo, its endpoints and "Security considerations"
MEDIA_ERRORS: dict[MediaRefusal, tuple[int, str]] = {
    MediaRefusal.TOO_LARGE: (413, "M_TOO_LARGE"),
    MediaRefusal.QUOTA: (403, "M_FORBIDDEN"),
    MediaRefusal.TOO_MANY_PENDING: (429, "M_LIMIT_EXCEEDED"),
    MediaRefusal.GUEST: (403, "M_GUEST_ACCESS_FORBIDDEN"),
    MediaRefusal.NOT_FOUND: (404, "M_NOT_FOUND"),
    MediaRefusal.NOT_YET_UPLOADED: (504, "M_NOT_YET_UPLOADED"),
    MediaRefusal.ALREADY_UPLOADED: (409, "M_CANNOT_OVERWRITE_MEDIA"),
    MediaRefusal.NOT_YOURS: (403, "M_FORBIDDEN"),
    MediaRefusal.NOT_ANNOUNCED: (400, "M_INVALID_PARAM"),
    MediaRefusal.NO_THUMBNAIL: (400, "M_UNKNOWN"),
    MediaRefusal.IMAGE_TOO_LARGE: (413, "M_TOO_LARGE"),
    MediaRefusal.REMOTE_TOO_LARGE: (502, "M_TOO_LARGE"),
    MediaRefusal.REMOTE_FAILED: (502, "M_UNKNOWN"),
    MediaRefusal.BAD_LINK: (400, "M_INVALID_PARAM"),
    MediaRefusal.NO_PREVIEW: (502, "M_UNKNOWN"),
    MediaRefusal.TOO_MANY_PREVIEWS: (429, "M_LIMIT_EXCEEDED"),
    MediaRefusal.SERVER_BUSY: (503, "M_UNKNOWN"),
}

# spec: client-server-api POST /keys/upload, /keys/device_signing/upload, room_keys; proposal 3814
KEY_ERRORS: dict[KeyRefusal, tuple[int, str]] = {
    KeyRefusal.KEY_REPLACED: (400, "M_INVALID_PARAM"),
    KeyRefusal.TOO_MANY_KEYS: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    KeyRefusal.BAD_SIGNATURE: (400, "M_INVALID_SIGNATURE"),
    KeyRefusal.NO_MASTER_KEY: (400, "M_MISSING_PARAM"),
    KeyRefusal.KEY_IS_A_DEVICE: (403, "M_FORBIDDEN"),
    KeyRefusal.TOO_LARGE: (413, "M_TOO_LARGE"),
    KeyRefusal.TOO_MANY_DEVICES: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    KeyRefusal.NO_SUCH_BACKUP: (404, "M_NOT_FOUND"),
    KeyRefusal.WRONG_BACKUP: (403, "M_WRONG_ROOM_KEYS_VERSION"),
    KeyRefusal.OTHER_BACKUP: (400, "M_INVALID_PARAM"),
    KeyRefusal.BACKUP_FULL: (400, "M_RESOURCE_LIMIT_EXCEEDED"),
    KeyRefusal.NO_SUCH_KEY: (404, "M_NOT_FOUND"),
    KeyRefusal.NO_DEHYDRATED_DEVICE: (404, "M_NOT_FOUND"),
    KeyRefusal.NOT_THE_DEHYDRATED_DEVICE: (403, "M_FORBIDDEN"),
    KeyRefusal.BUSY: (503, "M_UNKNOWN"),
}


@contextmanager
def identity_errors() -> Iterator[None]:
    """What an identity server said, or that it said nothing, as the client hears it.

    spec: identity-service-api POST /3pid/unbind: a Matrix error "should be passed through to the client"
    """
    try:
        yield
    except IdentityRefused as refused:
        # 401 would be about the access token of this server.
        status = 403 if refused.status == 401 else refused.status
        status = status if 400 <= status < 500 else 502
        text = f"{refused.host}: {refused.error or 'it refuses that'}"
        raise MatrixError(status, refused.errcode or "M_UNKNOWN", text) from refused
    except RemoteFailed as failed:
        raise MatrixError(504, "M_UNKNOWN", f"No usable answer came from {failed.host}") from failed


def of_keys(refused: KeyRefused) -> MatrixError:
    """The error for something about keys, backups or messages to devices."""
    status, errcode = KEY_ERRORS[refused.refusal]
    if refused.current is not None:
        return MatrixError(status, errcode, refused.text, current_version=refused.current)
    return MatrixError(status, errcode, refused.text)


def of_media(refused: MediaRefused) -> MatrixError:
    """The error for something about a file."""
    status, errcode = MEDIA_ERRORS[refused.refusal]
    if refused.retry_after_ms is not None:
        return MatrixError(status, errcode, refused.text, retry_after_ms=refused.retry_after_ms)
    return MatrixError(status, errcode, refused.text)


def of_room(refused: Refused) -> MatrixError:
    """The error for something a room refused."""
    status, errcode = ROOM_ERRORS[refused.refusal]
    if refused.retry_after_ms is not None:
        return MatrixError(status, errcode, refused.text, retry_after_ms=refused.retry_after_ms)
    if refused.where is not None:
        return MatrixError(status, errcode, refused.text, consent_uri=refused.where)
    return MatrixError(status, errcode, refused.text)


def of_account(refused: AccountRefused) -> MatrixError:
    """The error for something that accounts refused."""
    status, errcode = ACCOUNT_ERRORS[refused.refusal]
    if refused.refusal is AccountRefusal.LOCKED:
        # spec: client-server "Account locking": the client keeps its session and tries again.
        return MatrixError(status, errcode, refused.text, soft_logout=True)
    if refused.refusal in (AccountRefusal.UNKNOWN_TOKEN, AccountRefusal.EXPIRED_TOKEN):
        soft = refused.refusal is AccountRefusal.EXPIRED_TOKEN
        return MatrixError(status, errcode, refused.text, soft_logout=soft)
    if refused.retry_after_ms is not None:
        return MatrixError(status, errcode, refused.text, retry_after_ms=refused.retry_after_ms)
    return MatrixError(status, errcode, refused.text)
