"""The one door to what lasts: what every store can do, in domain types.

Writes are values (writes.py), submitted in units; reads are coroutines, so that a store on another machine
fits, and one on this machine answers without a thread hop. Absent is None or empty, never an exception.
Implementations: sqlite.py, memory.py; tests/contract holds them to this file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.core.words import Question
from tripoint.store.admin_store import AdminStore
from tripoint.store.app_service_store import AppServiceStore
from tripoint.store.contact_store import ContactStore
from tripoint.store.device_store import DeviceStore
from tripoint.store.oauth_store import OAuthStore
from tripoint.store.preview_store import PreviewStore
from tripoint.store.writes import (
    PutAccount,
    PutAccountData,
    PutCertificate,
    PutDelayed,
    PutDestination,
    PutDevice,
    PutFastToken,
    PutMedia,
    PutMediaLink,
    PutMissedRoom,
    PutNode,
    PutNodeItem,
    PutNodeSubscription,
    PutPartialRoom,
    PutPusher,
    PutReceipt,
    PutRegistrationToken,
    PutRoom,
    PutRoomPassword,
    PutServerBan,
    PutServerKey,
    PutStagedPdu,
    PutToken,
    PutVhost,
    Write,
)


class StoreError(Exception):
    """The store could not write (disk full, database gone). Nothing of the unit was stored."""


class DatabaseTooNew(StoreError):
    """The database was written by a newer version of the program."""


class StoredEvent(Struct, frozen=True):
    """A row of the history, as in AddEvent. Whoever asked for a timeline may rely on a `position`."""

    event_key: int
    position: int | None
    room_key: int
    event_id: EventId
    state_group: int
    ts_ms: int
    flags: int
    token: str | None
    json: bytes
    redacted_by: EventId | None = None

    @property
    def place(self) -> int:
        """The position of an event that is in a timeline."""
        assert self.position is not None, "not in a timeline"
        return self.position

    @property
    def logged(self) -> int:
        """Where it stands in the log: what was here before it had its place stands where it was placed."""
        return max(self.event_key, self.place)


class RelationRow(Struct, frozen=True):
    """An event that is about another: `target`, in the way of `rel_type`."""

    event_key: int
    position: int
    target: EventId
    rel_type: str
    type: str
    sender: UserId


class StickyRow(Struct, frozen=True):
    """An event that is sticky. `position` None: it soft-failed."""

    room_id: RoomId
    event_id: EventId
    position: int | None
    sender: UserId
    until_ms: int


class RelationCount(Struct, frozen=True):
    """How many events are about another in one way, and the newest of them."""

    target: EventId
    rel_type: str
    count: int
    latest_key: int


class MembershipRow(Struct, frozen=True):
    room_key: int
    room_id: RoomId
    membership: str
    position: int


MEDIA_BLOCK = 4096

Done = Callable[[StoreError | None], None]


class Writer(Protocol):
    """The writing half, shared by rooms and accounts."""

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """Queue `writes` as one unit, stored whole or not at all.

        Units are committed in the order of submission, as many as are waiting in one transaction. `done` is
        called on the loop's thread, in the same order: with None after the commit reached the disk, or with
        the error. After an error every unit that had been submitted by then has failed too, so nobody builds
        on something that was not stored.
        """


class RoomStore(Writer, Protocol):
    """Rooms, events, state."""

    async def load_room(self, room_id: RoomId) -> PutRoom | None: ...
    async def load_room_by_key(self, room_key: int) -> PutRoom | None: ...
    async def load_locked_rooms(self) -> Sequence[PutRoom]: ...
    async def load_listed_rooms(self) -> Sequence[PutRoom]: ...
    async def load_direct_rooms(self, pair: str) -> Sequence[PutRoom]:
        """Rooms with this `direct_pair`, the oldest first."""

    async def load_state(self, group: int) -> Mapping[tuple[str, str], int]:
        """The whole state of a group: (type, state_key) to the key of its event."""

    async def load_state_chain(self, group: int) -> tuple[int, int]:
        """(deltas since the last full state, entries of that full state) of a group."""

    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        """Events by their keys."""

    async def load_events_by_id(self, event_ids: Sequence[EventId]) -> Mapping[EventId, StoredEvent]: ...
    async def load_event(self, event_id: EventId) -> StoredEvent | None: ...
    async def load_partial_room(self, room_key: int) -> PutPartialRoom | None:
        """How a room was entered whose state is not whole yet."""

    async def load_partial_rooms(self) -> Sequence[PutPartialRoom]: ...
    async def load_missing_past(self, room_key: int) -> Sequence[EventId]:
        """Where a room's history goes on that this server does not have (PutMissingPast)."""

    async def load_first_position(self, room_key: int) -> int:
        """Position of the oldest event; 0 for an unknown room."""

    async def load_waiting_redactions(self, target: EventId) -> Sequence[EventId]:
        """Redactions that came before the event that they name (PutWaitingRedaction)."""

    async def load_timeline(
        self, room_key: int, *, after: int, upto: int, limit: int, backward: bool
    ) -> Sequence[StoredEvent]:
        """Events with after < position <= upto, not that at 0; newest first if `backward`, else oldest first."""

    async def load_state_history(self, room_key: int, type: str, state_key: str) -> Sequence[StoredEvent]:
        """Every event of the timeline that ever stood under this key, by rising position."""

    async def load_state_changes(
        self, room_key: int, type: str, state_key: str, *, after: int, upto: int
    ) -> Sequence[StoredEvent]:
        """As load_state_history: the events at positions after < position <= upto, and the last one before those."""

    async def load_state_before(
        self, room_key: int, type: str, state_key: str, position: int
    ) -> StoredEvent | None:
        """The event that stood under this key before `position`."""

    async def load_position_at(self, room_key: int, ts_ms: int) -> int:
        """The highest position whose event's time is before `ts_ms`; 0 if there is none."""

    async def load_events_at(
        self, room_key: int, ts_ms: int, *, forward: bool, limit: int
    ) -> Sequence[StoredEvent]:
        """Events of the timeline at or after a time (`forward`), or at or before it; the nearest first."""

    async def load_event_by_token(self, room_key: int, token: str) -> Sequence[StoredEvent]:
        """Events kept with this token, newest first."""

    async def load_memberships(self, user_id: UserId) -> Sequence[MembershipRow]: ...
    async def load_last_position(self, room_key: int) -> int:
        """Position of the newest event; 0 for an unknown room."""

    async def load_alias(self, alias: RoomAlias) -> RoomId | None: ...
    async def load_alias_creator(self, alias: RoomAlias) -> UserId | None: ...
    async def load_aliases(self, room_key: int) -> Sequence[RoomAlias]: ...
    async def load_receipts(self, room_key: int) -> Sequence[PutReceipt]: ...
    async def load_own_receipts(self, room_key: int, user_id: UserId) -> Sequence[PutReceipt]:
        """A user's receipts in a room, by position."""

    async def load_stripped_state(self, room_key: int) -> bytes | None:
        """What was told of a room from outside (PutStrippedState)."""

    async def load_closed_rooms(self) -> Mapping[RoomId, str]:
        """Rooms that nobody of this server gets into, and who closed them; "": that is not known."""
    async def load_relations(
        self,
        room_key: int,
        targets: Sequence[EventId],
        *,
        rel_type: str | None = None,
        after: int,
        upto: int,
        limit: int,
        backward: bool,
    ) -> Sequence[RelationRow]:
        """Events with after < position <= upto that are about any of `targets`, from one end."""

    async def load_room_relations(
        self, room_key: int, rel_type: str, *, upto: int, limit: int
    ) -> Sequence[RelationRow]:
        """The newest events of a room up to a position that are about another in this way."""

    async def load_related_rooms(
        self, user_id: UserId, rel_type: str, *, after: int, upto: int
    ) -> Sequence[tuple[RoomId, int]]:
        """The rooms that a user is joined to in which something at after < position <= upto is about another event in
        this way, and the position of the newest of it."""

    async def load_relation_counts(
        self, room_key: int, targets: Sequence[EventId], without: Sequence[UserId]
    ) -> Sequence[RelationCount]:
        """Of each of `targets` what is about it, by `rel_type`; what users of `without` sent does not count."""

    async def load_related_by(
        self, room_key: int, targets: Sequence[EventId], rel_type: str, sender: UserId
    ) -> frozenset[EventId]:
        """Which of `targets` a user has sent something about, in this way."""

    async def load_sticky(self, now_ms: int) -> Sequence[StickyRow]:
        """What is sticky after a time, by position; what soft-failed comes first."""

    async def load_room_password(self, room_key: int) -> PutRoomPassword | None: ...
    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]: ...
    async def load_maxima(self) -> tuple[int, int, int]:
        """Highest (position or event key, state group, room key) in use; zeros in a new database."""

    async def load_meta(self, key: str) -> str | None: ...
    async def load_profile(self, user_id: UserId) -> Mapping[str, str]: ...
    async def load_users_like(
        self, part: str, limit: int
    ) -> Sequence[tuple[UserId, str | None, str | None]]:
        """Accounts in whose user id or display name, casefolded, `part` stands, with display name and avatar; no
        guests, nobody who is deactivated. In the order of user ids."""


class AccountStore(Writer, OAuthStore, ContactStore, Protocol):
    """Accounts, credentials, devices, account data."""

    async def load_account(self, user_id: UserId) -> PutAccount | None: ...
    async def load_account_names(self) -> Sequence[str]:
        """Localparts of all accounts, guests and closed ones too."""

    async def load_credential(self, user_id: UserId, form: str) -> bytes | None: ...
    async def load_devices(self, user_id: UserId) -> Sequence[PutDevice]: ...
    async def load_token(self, token_hash: bytes) -> PutToken | None: ...
    async def load_tokens(self, user_id: UserId) -> Sequence[PutToken]: ...
    async def load_profile(self, user_id: UserId) -> Mapping[str, str]: ...
    async def load_account_data(self, user_id: UserId, since: int) -> Sequence[PutAccountData]:
        """All of it written after stream position `since`, global and per room."""

    async def load_account_data_of_type(self, type: str) -> Sequence[PutAccountData]:
        """Global account data of one type, of all accounts."""

    async def load_filter(self, user_id: UserId, filter_id: str) -> bytes | None: ...
    async def load_roster(self, user_id: UserId) -> Sequence[bytes]: ...
    async def load_nodes(self, user_id: UserId) -> Sequence[PutNode]:
        """The nodes of an account, by name."""

    async def load_node(self, user_id: UserId, node: str) -> PutNode | None: ...
    async def load_node_items(self, user_id: UserId, node: str, limit: int) -> Sequence[PutNodeItem]:
        """Items of a node, the newest first."""

    async def load_node_item(self, user_id: UserId, node: str, item_id: str) -> PutNodeItem | None: ...
    async def load_node_subscriptions(self, user_id: UserId) -> Sequence[PutNodeSubscription]:
        """All subscriptions to nodes of an account, by node and address."""

    async def load_pushers(self) -> Sequence[PutPusher]:
        """Those of all accounts."""

    async def load_fast_tokens(self, user_id: UserId) -> Sequence[PutFastToken]: ...
    async def load_node_owners(self, node: str) -> Sequence[UserId]:
        """The accounts that have a node of this name."""

    async def load_published_bytes(self, user_id: UserId) -> int:
        """How much the payloads of all items of an account take."""

    async def load_registration_token(self, token: str) -> PutRegistrationToken | None: ...
    async def load_registration_tokens(self) -> Sequence[PutRegistrationToken]:
        """All of them, by name; those of no use too."""

    async def load_guests(self) -> Sequence[PutAccount]:
        """Guests that a stopped server left behind."""

    async def load_reports(self, limit: int) -> Sequence["Report"]:
        """The oldest reports that nobody has dealt with."""

    async def load_server_bans(self) -> Sequence[PutServerBan]:
        """All of them, those that are over too."""

    async def load_vhosts(self) -> Sequence[PutVhost]: ...

    async def load_certificate(self, fingerprint: str) -> PutCertificate | None:
        """Whose a certificate is; None: nobody's."""

    async def load_certificates(self, user_id: UserId) -> Sequence[PutCertificate]:
        """An account's, by their fingerprints."""

    async def load_meta(self, key: str) -> str | None: ...


class KeyStore(Writer, Protocol):
    """What is known of other servers' keys."""

    async def load_server_keys(self, server: ServerName) -> Sequence[PutServerKey]:
        """Every key kept of one server, by key id."""


class FederationStore(Writer, Protocol):
    """What other servers have heard, and what of theirs waits."""

    async def load_log(self, after: int, limit: int) -> Sequence[StoredEvent]:
        """Events of all rooms' timelines that were stored or placed after position `after`, in the order in which they
        came into them (StoredEvent.logged)."""

    async def load_receipts_after(self, position: int) -> Sequence[PutReceipt]:
        """Receipts of all rooms that moved after a position, in that order."""

    async def load_destinations(self) -> Sequence[PutDestination]: ...
    async def load_missed_rooms(self) -> Sequence[PutMissedRoom]: ...
    async def load_unanswered_ids(self) -> Sequence[tuple[ServerName, str]]:
        """Servers that did not answer a transaction, and its id; ordered by their names."""

    async def load_unanswered(self, server: ServerName) -> bytes | None:
        """The body of the transaction that a server did not answer."""

    async def load_staged_rooms(self) -> Sequence[int]:
        """Keys of the rooms for which PDUs wait."""

    async def load_staged_pdus(self, room_key: int) -> Sequence[PutStagedPdu]:
        """The PDUs that wait for a room, in the order in which they came."""


class WordsGone(Struct, frozen=True):
    """An event whose words do not count any more, as it was: redacted, or gone with its room. `number` orders them."""

    number: int
    event_key: int
    position: int
    room_key: int
    json: bytes


class SearchStore(Writer, Protocol):
    """What a full-text index is made from."""

    async def load_log(self, after: int, limit: int) -> Sequence[StoredEvent]: ...
    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]: ...
    async def load_words_gone(self, limit: int) -> Sequence[WordsGone]:
        """The oldest of them; ForgetWordsGone takes them away."""


class Report(Struct, frozen=True):
    """A report that waits for the administrators, as in AddReport."""

    number: int
    ts_ms: int
    reporter: UserId
    user_id: UserId | None
    room_id: RoomId | None
    event_id: EventId | None
    kind: str
    reason: str


class Document(Struct, frozen=True):
    """The words of one event, each once. `row` orders events as they stand in their room: the event's key, negative for
    an event of the past that was fetched from before what was here."""

    row: int
    room_key: int
    words: tuple[str, ...]


class Reached(Struct, frozen=True):
    """How far an index goes: up to this event of the log, which stands there at `event_key`. 0: nothing is in it."""

    event_key: int
    event_id: EventId


class SearchIndex(Protocol):
    """Which words stand in which event. It can be lost: everything in it is made from the store."""

    async def open(self) -> Reached: ...
    async def start_anew(self) -> None:
        """Empty it."""

    async def add(self, added: Sequence[Document], gone: Sequence[Document], reached: Reached) -> None:
        """Whole or not at all. A row that is there is not added again, one that is not there is not taken out."""

    async def find(
        self, question: Question, rooms: Sequence[int] | None, *, before: int | None, limit: int
    ) -> Sequence[int]:
        """Rows whose events may answer, the highest first: phrases are not looked at. `before`: below that row."""

    async def tidy(self) -> bool:
        """Do a little of what is left to do behind what was taken out; whether there is more."""

    async def close(self) -> None: ...


class MediaStore(Writer, AdminStore, PreviewStore, Protocol):
    """What is known of files. Their bytes are not here (media/disk.py)."""

    async def load_media(self, server: ServerName, media_id: str) -> PutMedia | None: ...
    async def is_content_kept(self, content: str) -> bool:
        """Whether any name still stands for these bytes."""

    async def load_contents(self, after: str, limit: int) -> Sequence[str]:
        """The bytes that names stand for, each once, in order, behind `after`."""

    async def load_uploaded_bytes(self, user_id: UserId) -> int:
        """How much a user has uploaded, what was announced and has not come included. Each file counts as MEDIA_BLOCK
        bytes at least, since that is what it takes: nobody fills a disk with files of one byte."""

    async def load_pending_media(self, user_id: UserId) -> Sequence[PutMedia]:
        """Names that a user has got for files that have not come, the oldest first."""

    async def load_lapsed_media(self, now_ms: int) -> Sequence[PutMedia]:
        """Names whose files have not come in time."""

    async def load_cached_media(self, own: ServerName, limit: int) -> Sequence[PutMedia]:
        """Files of other servers than `own`, the one that was asked for longest ago first. Without those that are
        quarantined: forgotten, they would be fetched again."""

    async def load_cached_bytes(self, own: ServerName) -> int:
        """How much of other servers' files is kept, counted like that."""

    async def load_media_link(self, link: str) -> PutMediaLink | None: ...
    async def load_media_links(self, server: ServerName, media_id: str) -> Sequence[PutMediaLink]:
        """All links to a file, by their subjects."""

    async def load_event(self, event_id: EventId) -> StoredEvent | None: ...
    async def load_profile(self, user_id: UserId) -> Mapping[str, str]: ...
    async def has_local_member(self, room_key: int) -> bool:
        """Whether a user of this server is joined to a room."""


class DelayedStore(Writer, Protocol):
    """Events that are sent later (rooms/delayed.py)."""

    async def load_delayed(self) -> Sequence[PutDelayed]:
        """Those of all accounts, and what became of earlier ones."""


class Store(
    RoomStore,
    AccountStore,
    DelayedStore,
    KeyStore,
    FederationStore,
    SearchStore,
    MediaStore,
    DeviceStore,
    AdminStore,
    AppServiceStore,
    Protocol,
):
    """Everything, as runtime opens and closes it."""

    async def close(self) -> None:
        """Write what is queued, then close."""
