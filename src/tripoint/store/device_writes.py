"""What can be written of devices' keys, of messages to devices and of key backups. Part of writes.Write.

As there: each table is touched by one kind of write, a value of None deletes, and a unit is stored whole or not at
all. The Drop... that say so clear several tables; they happen in the order of submission all the same.
"""

from msgspec import Struct

from tripoint.core.ids import ServerName, UserId


class PutDeviceKeys(Struct, frozen=True):
    """The identity keys of a local device: JSON as uploaded, with the signatures of its owner alone."""

    user_id: UserId
    device_id: str
    keys: bytes


class PutOneTimeKey(Struct, frozen=True):
    """A one-time key. `position`: when it was uploaded. Of one that was claimed `key` is the SHA-256 of its JSON, so
    that it is known when it comes again."""

    user_id: UserId
    device_id: str
    algorithm: str
    key_id: str
    position: int
    key: bytes
    claimed: bool = False


class TrimClaimedKeys(Struct, frozen=True):
    """Of a device's claimed keys of an algorithm remember the newest `keep`."""

    user_id: UserId
    device_id: str
    algorithm: str
    keep: int


class PutFallbackKey(Struct, frozen=True):
    """The fallback key of a device for an algorithm. `used`: it was given out since it was uploaded."""

    user_id: UserId
    device_id: str
    algorithm: str
    key_id: str
    key: bytes
    used: bool


class DropDeviceKeys(Struct, frozen=True):
    """A local device is gone: its keys of all kinds, the signatures on them, the messages that wait for it, and what it
    is made of again if it was dehydrated."""

    user_id: UserId
    device_id: str


class PutCrossSigningKey(Struct, frozen=True):
    """A cross-signing key of a local user, or of another server's as far as it is known here. `usage`: master,
    self_signing, user_signing. None deletes."""

    user_id: UserId
    usage: str
    key: bytes | None


class PutKeySignature(Struct, frozen=True):
    """A local user's signature on a key: on an own device or master key, or on somebody's master key.

    `key_id` is the device id or the public key that is signed, `signing_key_id` with `ed25519:` before it.
    """

    user_id: UserId
    key_id: str
    signer: UserId
    signing_key_id: str
    signature: str


class DropUserKeys(Struct, frozen=True):
    """An account was closed: its cross-signing keys, what it signed, its backups, its dehydrated device."""

    user_id: UserId


class PutDeviceChange(Struct, frozen=True):
    """Something about a user's keys changed at `position`: of one device, of the cross-signing keys (device ""), or,
    for a user of another server, of anything (device "").

    `viewer`: whom alone it concerns ("": everybody). `previous`: the position of the change of a device of the user
    before it, 0 if there was none. One row for each device and viewer: the newest.
    """

    user_id: UserId
    device_id: str
    viewer: str
    position: int
    previous: int


class PutToDevice(Struct, frozen=True):
    """A message that waits for a local device: its event as /sync gives it."""

    user_id: UserId
    device_id: str
    position: int
    json: bytes


class DropToDevice(Struct, frozen=True):
    """A device has its messages up to a position. Never beyond what is committed."""

    user_id: UserId
    device_id: str
    upto: int


class PutOutgoingMessage(Struct, frozen=True):
    """A message to devices that waits for another server: the content of its m.direct_to_device."""

    server: ServerName
    position: int
    content: bytes


class DropOutgoingMessages(Struct, frozen=True):
    """A server has those up to a position. Never beyond what is committed."""

    server: ServerName
    upto: int


class PutSeenMessage(Struct, frozen=True):
    """A message was taken under this id; it does not count a second time. `scope`: a server, or "user device" of a
    local one."""

    scope: str
    message_id: str
    ts_ms: int


class TrimSeenMessages(Struct, frozen=True):
    """Forget the ids that are older than a time (ms)."""

    before_ms: int


class PutRemoteDeviceList(Struct, frozen=True):
    """What is known of the devices of another server's user. `stream_id`: the version there (None: nothing is known
    any more); `stale`: it has to be asked for before it is used again."""

    user_id: UserId
    stream_id: int | None
    stale: bool


class PutRemoteDevice(Struct, frozen=True):
    """One device with keys of another server's user. A `keys` of None: it is gone."""

    user_id: UserId
    device_id: str
    keys: bytes | None
    display_name: str | None


class DropRemoteDevices(Struct, frozen=True):
    """All devices and cross-signing keys known of another server's user: a whole list takes their place."""

    user_id: UserId


class PutKeyBackup(Struct, frozen=True):
    """A version of a user's key backup. `deleted`: it is gone, and was there. `etag` moves with its keys."""

    user_id: UserId
    version: int
    algorithm: str
    auth_data: bytes
    etag: int
    deleted: bool = False


class PutBackedUpKey(Struct, frozen=True):
    """A session in a backup, JSON as uploaded. None deletes."""

    user_id: UserId
    version: int
    room_id: str
    session_id: str
    data: bytes | None


class DropBackedUpKeys(Struct, frozen=True):
    """All keys of a backup, or those of one room."""

    user_id: UserId
    version: int
    room_id: str | None


class PutDehydratedDevice(Struct, frozen=True):
    """The device that waits for its user to log in somewhere (MSC3814), and what it is made of again. A `device_id`
    of None: there is none any more."""

    user_id: UserId
    device_id: str | None
    data: bytes


DeviceWrite = (
    PutDeviceKeys
    | PutOneTimeKey
    | TrimClaimedKeys
    | PutFallbackKey
    | DropDeviceKeys
    | PutCrossSigningKey
    | PutKeySignature
    | DropUserKeys
    | PutDeviceChange
    | PutToDevice
    | DropToDevice
    | PutOutgoingMessage
    | DropOutgoingMessages
    | PutSeenMessage
    | TrimSeenMessages
    | PutRemoteDeviceList
    | PutRemoteDevice
    | DropRemoteDevices
    | PutKeyBackup
    | PutBackedUpKey
    | DropBackedUpKeys
    | PutDehydratedDevice
)
