"""Everything that can be written to a store, as frozen values. A unit of them is stored whole or not at all.

What concerns devices' keys and messages to devices is in device_writes.py. Each table is touched by one kind of
write, and a value of None deletes, so that writes of one kind can go to the database in one statement and still
happen in the order in which they were submitted.
"""

from msgspec import Struct

from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.store.app_service_store import PutAppService, PutNetworkRoom
from tripoint.store.contact_writes import ContactWrite
from tripoint.store.device_writes import DeviceWrite
from tripoint.store.oauth_writes import OAuthWrite
from tripoint.store.preview_store import PutPreview

# Flags of an event. An outlier's state before it is not known; a rejected event breaks the rules; a soft-failed
# one breaks those of the present; a redacted one is stored in its redacted form; a relayed one is another server's
# and came to us to be spread (send_join and its kin).
FLAG_OUTLIER, FLAG_REJECTED, FLAG_SOFT_FAILED, FLAG_REDACTED, FLAG_RELAYED = 1, 2, 4, 8, 16

StateDelta = tuple[tuple[str, str, int], ...]  # (type, state_key, key of the event)


class PutRoom(Struct, frozen=True):
    """A room as this server keeps it. `head_group` is the state group after `extremities`.

    `extremities` are (event id, depth, state group after it) of the forward extremities.
    `locked_until_ms`: XEP-0045 10.1.1. `direct_pair`: "user user" of a canonical direct room, sorted.
    """

    room_key: int
    room_id: RoomId
    version: str
    head_group: int
    extremities: tuple[tuple[EventId, int, int], ...]
    created_ts_ms: int
    listed: bool
    temporary: bool
    locked_until_ms: int | None
    unlock_join_rule: str | None
    direct_pair: str | None


class DropRoom(Struct, frozen=True):
    """A temporary room is gone: its events, state, memberships, receipts and aliases with it."""

    room_key: int


class AddEvent(Struct, frozen=True):
    """One event. `event_key` names it in every table; `position` is its place in the server's stream.

    `position` None: the event is in no timeline (an outlier, a rejected or a soft-failed event); negative:
    it was fetched from before what this server had; 0: it held before all of that, and is on no page.
    `state_group` is the state after it. `type` and `state_key` are kept as columns for state events alone (None
    otherwise). `flags`: see FLAG_*. `redacted_by`: the redaction that was here before it.
    """

    event_key: int
    position: int | None
    room_key: int
    event_id: EventId
    state_group: int
    ts_ms: int
    flags: int
    type: str | None
    state_key: str | None
    token: str | None
    json: bytes
    redacted_by: EventId | None = None


class PlaceEvent(Struct, frozen=True):
    """An event that was stored as an outlier gets its place: what AddEvent would have said of it."""

    event_key: int
    position: int | None
    state_group: int
    flags: int


class DropEvents(Struct, frozen=True):
    """Events that are no state and no end of a graph are gone from this server, with what was noted of them."""

    event_keys: tuple[int, ...]


class ReplaceEventJson(Struct, frozen=True):
    """The event's stored form is its redacted one from now on, because of the event `redacted_by`."""

    event_key: int
    flags: int
    json: bytes
    redacted_by: EventId


class PutWaitingRedaction(Struct, frozen=True):
    """A redaction came before the event that it names."""

    target: EventId
    redaction: EventId


class PutPartialRoom(Struct, frozen=True):
    """A room that was entered without all of its members. `join` is the event by which, `servers` who is in it as
    far as other servers said. A `join` of None: its state is whole."""

    room_key: int
    join: EventId | None
    servers: tuple[ServerName, ...]


class CompleteStates(Struct, frozen=True):
    """Every state of a room has these entries too, where it has nothing else under their keys."""

    room_key: int
    entries: StateDelta


def completed(entries: StateDelta, more: StateDelta) -> StateDelta:
    """A whole state with the entries of CompleteStates."""
    there = {(type_, state_key) for type_, state_key, _ in entries}
    return (*entries, *(entry for entry in more if (entry[0], entry[1]) not in there))


class PutMissingPast(Struct, frozen=True):
    """An event that lies before all that this server has of the room, named as its parent by the one at `position`.
    A `position` of None: it came, or nobody has it."""

    room_key: int
    event_id: EventId
    position: int | None


class AddStateGroup(Struct, frozen=True):
    """A state: `entries` on top of `base`, or, where base is None, all of it."""

    group: int
    room_key: int
    base: int | None
    entries: StateDelta


class PutMembership(Struct, frozen=True):
    """Where a user stands in a room. `membership` None: forgotten."""

    user_id: UserId
    room_key: int
    membership: str | None
    position: int


class PutAlias(Struct, frozen=True):
    alias: RoomAlias
    room_key: int | None
    creator: UserId


class PutReceipt(Struct, frozen=True):
    room_key: int
    user_id: UserId
    kind: str
    thread_id: str  # "" for unthreaded
    event_id: EventId
    ts_ms: int
    position: int


class PutAccount(Struct, frozen=True):
    user_id: UserId
    name: str
    guest: bool
    admin: bool
    deactivated: bool
    locked: bool
    created_ts_ms: int
    suspended: bool = False
    shadow_banned: bool = False
    erased: bool = False


class DropAccount(Struct, frozen=True):
    """A guest has gone: its account, devices, tokens, data, nodes. (Accounts of people are deactivated instead.)"""

    user_id: UserId


class PutCredential(Struct, frozen=True):
    """A stored password form (docs/mapping.md 18.2). `form`: scram-sha-256, scram-sha-1. None deletes."""

    user_id: UserId
    form: str
    data: bytes | None


class PutDevice(Struct, frozen=True):
    user_id: UserId
    device_id: str
    protocol: str | None  # None deletes the device
    display_name: str | None
    last_seen_ts_ms: int


class PutToken(Struct, frozen=True):
    """An access or refresh token, by its SHA-256. `device_id` None deletes it.

    `client_id`: the OAuth client that has it; None: it comes from the legacy API. `replaces`: the refresh token whose
    place it takes once it is used. `spent`: a refresh token that was replaced, kept to know it again until it expires.
    """

    token_hash: bytes
    user_id: UserId
    device_id: str | None
    refresh: bool
    expires_ts_ms: int | None
    client_id: str | None = None
    replaces: bytes | None = None
    spent: bool = False


class PutProfile(Struct, frozen=True):
    user_id: UserId
    field: str
    value: str | None


class PutAccountData(Struct, frozen=True):
    user_id: UserId
    room_id: str  # "" for global
    type: str
    content: bytes
    position: int


class PutFilter(Struct, frozen=True):
    user_id: UserId
    filter_id: str
    definition: bytes


class PutRosterItem(Struct, frozen=True):
    user_id: UserId
    jid: str
    data: bytes | None


class PutNode(Struct, frozen=True):
    """A node of what an account publishes (XEP-0163), by its configuration (JSON). None deletes it; its items go by
    writes of their own."""

    user_id: UserId
    node: str
    config: bytes | None


class PutNodeItem(Struct, frozen=True):
    """An item of a node. `position`: its place among the node's items, the newest last; `payload`: XML. None deletes.

    `publisher`: the full JID that published it.
    """

    user_id: UserId
    node: str
    item_id: str
    position: int
    publisher: str
    ts_ms: int
    payload: bytes | None


class PutNodeSubscription(Struct, frozen=True):
    """Somebody hears of a node because he asked to (XEP-0060 6.1): the local user `subscriber` at the address `jid`,
    with a resource or without. A `subscriber` of None deletes."""

    user_id: UserId
    node: str
    jid: str
    subscriber: UserId | None


class PutFastToken(Struct, frozen=True):
    """What a token of an XMPP client is made of (accounts/fast_tokens.py). `client`: which installation; `slot`: new or
    current; `count`: that of its last use. `salt` of None deletes."""

    user_id: UserId
    client: str
    slot: str
    device_id: str
    mechanism: str
    salt: bytes | None
    expires_ts_ms: int
    count: int


class PutPusher(Struct, frozen=True):
    """Where a device wants to be told of events (accounts/pushers.py). `position`: of the last event that it was told
    of. `settings` of None deletes."""

    user_id: UserId
    app_id: str
    pushkey: str
    device_id: str
    settings: bytes | None
    set_ts_ms: int
    position: int


class PutSticky(Struct, frozen=True):
    """An event is sticky for a while (rooms/sticky.py). `failed`: it soft-failed, and is shown to nobody."""

    event_key: int
    room_key: int
    sender: UserId
    until_ts_ms: int
    failed: bool


class ForgetSticky(Struct, frozen=True):
    """What was sticky until then is so no more."""

    now_ms: int


class PutDelayed(Struct, frozen=True):
    """An event that is sent later, or what became of it (rooms/delayed.py). `outcome`: JSON, None while it is to be
    sent. `content` of None deletes."""

    delay_id: str
    user_id: UserId
    room_id: RoomId
    type: str
    state_key: str | None
    content: bytes | None
    delay_ms: int
    since_ms: int
    outcome: bytes | None
    sticky_ms: int | None = None


class PutRegistrationToken(Struct, frozen=True):
    token: str
    uses_left: int | None  # None: unlimited
    expires_ts_ms: int | None
    username: str | None = None  # the only name that it is good for, kept for who has it
    completed: int = 0  # accounts that were made with it


class DropRegistrationToken(Struct, frozen=True):
    """Nobody can use it any more."""

    token: str


class PutName(Struct, frozen=True):
    """nickmap, slugmap and their kin (docs/mapping.md 0). A `value` of None takes it away."""

    kind: str
    scope: str
    key: str
    value: str | None


class PutClosedRoom(Struct, frozen=True):
    """Nobody of this server gets into a room any more: `by` has closed or blocked it. It stays so when the room is
    dropped. A `by` of None: it is open again."""

    room_id: RoomId
    by: UserId | None


class PutRoomPassword(Struct, frozen=True):
    """What is kept of a room's password (docs/mapping.md 8.5), and the content of the join rules before there was one
    (JSON). A `verifier` of None: the room has no password any more."""

    room_key: int
    verifier: bytes | None
    before: bytes


class PutServerKey(Struct, frozen=True):
    """A key of another server, as that server last published it. A `public_key` of None forgets the key.

    `valid_until_ts_ms`: until when signatures by it count; of an old key, when the server stopped using it.
    `fetched_ts_ms`: when `document` (JSON, the server's own signature in it) was had.
    """

    server: ServerName
    key_id: str
    public_key: str | None
    old: bool
    valid_until_ts_ms: int
    fetched_ts_ms: int
    document: bytes


class PutStrippedState(Struct, frozen=True):
    """What an invitation or a knock told of a room that this server is not in: a JSON list of stripped state
    events. None deletes: the room is entered, or gone."""

    room_key: int
    state: bytes | None


class PutDestination(Struct, frozen=True):
    """How far another server has heard this one. A `position` of None forgets it.

    `position`: what the stream holds up to it was acknowledged. The rest stands while the server does not answer, and
    is 0 otherwise: since when, when it is tried again (ms since 1970), and after how long (ms) the time before that.
    """

    server: ServerName
    position: int | None
    failing_since_ms: int
    retry_at_ms: int
    interval_ms: int


class PutMissedRoom(Struct, frozen=True):
    """Another server lacks what a room holds from position `since` on. None: it lacks nothing any more."""

    server: ServerName
    room_key: int
    since: int | None


class PutUnanswered(Struct, frozen=True):
    """A transaction that was sent to another server and is sent again until it is acknowledged: the newest of each
    server. A `txn_id` of None forgets it."""

    server: ServerName
    txn_id: str | None
    body: bytes


class ForgetWordsGone(Struct, frozen=True):
    """What a full-text index has lost up to this number was taken out of it. The store notes by itself what is to be
    taken out: with ReplaceEventJson and DropRoom."""

    upto: int


class PutStagedPdu(Struct, frozen=True):
    """A PDU that was acknowledged and cannot be judged yet; `json` is as it was received. A `room_key` of None
    forgets it. One that is there already stays as it is."""

    event_id: EventId
    room_key: int | None
    origin: ServerName
    json: bytes


class PutMedia(Struct, frozen=True):
    """A file by its mxc:// name, of this server or of another. A `type` of None: there is no such file any more.

    `content` is the SHA-256 of its bytes (hex), None until they have come: `expires_ts_ms` is when the name lapses if
    they do not. `size` is in bytes; before they have come, what was announced of it (0: nothing). `filename` is as
    given at the upload. `uploader` None: another server's. `used_ts_ms`: when it was last asked for, within a day.
    `quarantined_by`: the administrator who said so, where it was one by name; `protected`: it goes along with nothing
    that is quarantined or deleted as a whole.
    """

    server: ServerName
    media_id: str
    content: str | None
    type: str | None
    filename: str | None
    size: int
    uploader: UserId | None
    created_ts_ms: int
    used_ts_ms: int
    expires_ts_ms: int | None = None
    quarantined: bool = False
    quarantined_by: UserId | None = None
    protected: bool = False


class PutMediaLink(Struct, frozen=True):
    """A capability URL of a file (docs/mapping.md 12.2): for whoever was shown `subject`, an event id, or "" for
    whoever uploaded it. A `server` of None: the link leads nowhere any more. One that is there already stays."""

    link: str
    server: ServerName | None
    media_id: str
    subject: str
    filename: str


class PutServerBan(Struct, frozen=True):
    """A ban from this server (core/server_bans.py), by its kind and mask. A `setter` of None: it is taken off."""

    kind: str
    mask: str
    reason: str
    setter: str | None
    created_ts_ms: int
    expires_ts_ms: int | None


class AddReport(Struct, frozen=True):
    """Somebody told the administrators of something: of an event, a room or a user. `kind`: spam | abuse | ""."""

    ts_ms: int
    reporter: UserId
    user_id: UserId | None
    room_id: RoomId | None
    event_id: EventId | None
    kind: str
    reason: str


class DropReport(Struct, frozen=True):
    """A report was dealt with."""

    number: int


class PutVhost(Struct, frozen=True):
    """The host that IRC shows of an account in the place of the server's name. `state`: asked | on | off. A `host` of
    None: it has none, and asks for none."""

    user_id: UserId
    host: str | None
    state: str


class PutCertificate(Struct, frozen=True):
    """A certificate that an account logs in with: the SHA-256 of its DER form in lower-case hex. A `user_id` of None:
    nobody does."""

    fingerprint: str
    user_id: UserId | None
    added_ts_ms: int


class PutMeta(Struct, frozen=True):
    key: str
    value: str


Write = (
    PutRoom
    | DropRoom
    | AddEvent
    | PlaceEvent
    | DropEvents
    | ReplaceEventJson
    | PutWaitingRedaction
    | PutMissingPast
    | PutPartialRoom
    | CompleteStates
    | AddStateGroup
    | PutMembership
    | PutAlias
    | PutReceipt
    | PutAccount
    | DropAccount
    | PutCredential
    | PutDevice
    | PutToken
    | PutProfile
    | PutAccountData
    | PutFilter
    | PutRosterItem
    | PutNode
    | PutNodeItem
    | PutNodeSubscription
    | PutPusher
    | PutFastToken
    | PutSticky
    | ForgetSticky
    | PutDelayed
    | PutRegistrationToken
    | DropRegistrationToken
    | PutName
    | PutClosedRoom
    | PutRoomPassword
    | PutServerKey
    | PutStrippedState
    | PutDestination
    | PutMissedRoom
    | PutUnanswered
    | ForgetWordsGone
    | PutStagedPdu
    | PutMedia
    | PutMediaLink
    | PutServerBan
    | AddReport
    | DropReport
    | PutVhost
    | PutCertificate
    | PutMeta
    | DeviceWrite
    | OAuthWrite
    | ContactWrite
    | PutPreview
    | PutAppService
    | PutNetworkRoom
)
