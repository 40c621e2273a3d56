"""The store in memory: for tests and as the plainest reading of interface.py. Nothing lasts.

Units are applied at once and reported on the loop's next turn, in order, as a database would report them.
"""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.store.app_service_store import PutAppService, PutNetworkRoom
from tripoint.store.contact_writes import (
    PutAccepted,
    PutBinding,
    PutDigest,
    PutThreePid,
    PutValidation,
    TrimValidations,
)
from tripoint.store.interface import (
    MEDIA_BLOCK,
    Done,
    MembershipRow,
    RelationCount,
    RelationRow,
    Report,
    StickyRow,
    StoredEvent,
    StoreError,
    WordsGone,
)
from tripoint.store.memory_app_services import AppServicesInMemory
from tripoint.store.memory_contacts import ContactsInMemory
from tripoint.store.memory_devices import DevicesInMemory
from tripoint.store.memory_devices import drop as _drop
from tripoint.store.memory_devices import put as _put
from tripoint.store.memory_lists import ListsInMemory
from tripoint.store.memory_oauth import OAuthInMemory
from tripoint.store.memory_previews import PreviewsInMemory
from tripoint.store.oauth_writes import (
    DropBrowserSessions,
    PutBrowserSession,
    PutIdentity,
    PutOAuthClient,
    PutOAuthGrant,
    TrimOAuth,
)
from tripoint.store.preview_store import PutPreview
from tripoint.store.sql.rows import related_by
from tripoint.store.writes import (
    AddEvent,
    AddReport,
    AddStateGroup,
    CompleteStates,
    DropAccount,
    DropEvents,
    DropRegistrationToken,
    DropReport,
    DropRoom,
    ForgetSticky,
    ForgetWordsGone,
    PlaceEvent,
    PutAccount,
    PutAccountData,
    PutAlias,
    PutCertificate,
    PutClosedRoom,
    PutCredential,
    PutDelayed,
    PutDestination,
    PutDevice,
    PutFastToken,
    PutFilter,
    PutMedia,
    PutMediaLink,
    PutMembership,
    PutMeta,
    PutMissedRoom,
    PutMissingPast,
    PutName,
    PutNode,
    PutNodeItem,
    PutNodeSubscription,
    PutPartialRoom,
    PutProfile,
    PutPusher,
    PutReceipt,
    PutRegistrationToken,
    PutRoom,
    PutRoomPassword,
    PutRosterItem,
    PutServerBan,
    PutServerKey,
    PutStagedPdu,
    PutSticky,
    PutStrippedState,
    PutToken,
    PutUnanswered,
    PutVhost,
    PutWaitingRedaction,
    ReplaceEventJson,
    StateDelta,
    Write,
    completed,
)


class MemoryStore(
    DevicesInMemory, OAuthInMemory, ContactsInMemory, PreviewsInMemory, AppServicesInMemory, ListsInMemory
):
    """store.interface.Store in dictionaries.

    `fail_next(error)` makes the next units fail as a full disk would, for tests of faults.
    """

    def __init__(self) -> None:
        DevicesInMemory.__init__(self)
        OAuthInMemory.__init__(self)
        ContactsInMemory.__init__(self)
        PreviewsInMemory.__init__(self)
        AppServicesInMemory.__init__(self)
        self._loop = asyncio.get_running_loop()
        self._error: StoreError | None = None
        self._closed = False
        self.rooms: dict[int, PutRoom] = {}
        self.events: dict[int, StoredEvent] = {}
        self.state_keys: dict[int, tuple[str | None, str | None]] = {}
        self.keys: dict[EventId, int] = {}
        self.groups: dict[int, tuple[int, int | None, StateDelta]] = {}
        self.memberships: dict[tuple[UserId, int], PutMembership] = {}
        self.aliases: dict[RoomAlias, PutAlias] = {}
        self.receipts: dict[tuple[int, UserId, str, str], PutReceipt] = {}
        self.accounts: dict[UserId, PutAccount] = {}
        self.credentials: dict[tuple[UserId, str], PutCredential] = {}
        self.devices: dict[tuple[UserId, str], PutDevice] = {}
        self.tokens: dict[bytes, PutToken] = {}
        self.profiles: dict[tuple[UserId, str], PutProfile] = {}
        self.account_data: dict[tuple[UserId, str, str], PutAccountData] = {}
        self.filters: dict[tuple[UserId, str], PutFilter] = {}
        self.rosters: dict[tuple[UserId, str], PutRosterItem] = {}
        self.nodes: dict[tuple[UserId, str], PutNode] = {}
        self.delayed: dict[str, PutDelayed] = {}
        self.sticky: dict[int, PutSticky] = {}
        self.fast_tokens: dict[tuple[UserId, str, str], PutFastToken] = {}
        self.pushers: dict[tuple[UserId, str, str], PutPusher] = {}
        self.node_subscriptions: dict[tuple[UserId, str, str], PutNodeSubscription] = {}
        self.node_items: dict[tuple[UserId, str, str], PutNodeItem] = {}
        self.registration_tokens: dict[str, PutRegistrationToken] = {}
        self.names: dict[tuple[str, str], dict[str, str]] = {}
        self.server_keys: dict[tuple[ServerName, str], PutServerKey] = {}
        self.partial_rooms: dict[int, PutPartialRoom] = {}
        self.missing_past: set[tuple[int, EventId]] = set()
        self.waiting_redactions: dict[EventId, set[EventId]] = {}
        self.closed_rooms: dict[RoomId, str] = {}
        self.room_passwords: dict[int, PutRoomPassword] = {}
        self.stripped_states: dict[int, PutStrippedState] = {}
        self.destinations: dict[ServerName, PutDestination] = {}
        self.missed_rooms: dict[tuple[ServerName, int], PutMissedRoom] = {}
        self.unanswered: dict[ServerName, PutUnanswered] = {}
        self.relations: dict[int, tuple[str, str, str, str]] = {}
        self.reports: dict[int, Report] = {}
        self.words_gone: list[WordsGone] = []
        self.staged: dict[EventId, PutStagedPdu] = {}
        self.media: dict[tuple[ServerName, str], PutMedia] = {}
        self.media_links: dict[str, PutMediaLink] = {}
        self.server_bans: dict[tuple[str, str], PutServerBan] = {}
        self.vhosts: dict[UserId, PutVhost] = {}
        self.certificates: dict[str, PutCertificate] = {}
        self.meta: dict[str, str] = {}

    def fail_next(self, error: StoreError | None) -> None:
        """Units fail with `error` until this is called with None."""
        self._error = error

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        error = StoreError("the store is closed") if self._closed else self._error
        if error is None:
            try:
                for write in writes:
                    self._apply(write)
            except StoreError as broken:
                error = broken
        self._loop.call_soon(done, error)

    async def close(self) -> None:
        self._closed = True

    def _apply(self, write: Write) -> None:
        match write:
            case AddEvent():
                if write.event_key in self.events or write.event_id in self.keys:
                    raise StoreError("event stored twice")
                self.events[write.event_key] = StoredEvent(
                    write.event_key,
                    write.position,
                    write.room_key,
                    write.event_id,
                    write.state_group,
                    write.ts_ms,
                    write.flags,
                    write.token,
                    write.json,
                    write.redacted_by,
                )
                self.state_keys[write.event_key] = (write.type, write.state_key)
                self.keys[write.event_id] = write.event_key
                related = related_by(write)
                if related is not None:
                    self.relations[write.event_key] = related
            case PlaceEvent():
                self.events[write.event_key] = replace(
                    self.events[write.event_key],
                    position=write.position,
                    state_group=write.state_group,
                    flags=write.flags,
                )
            case DropEvents():
                for event_key in write.event_keys:
                    self._drop_event(event_key)
            case ReplaceEventJson():
                old = self.events[write.event_key]
                self._note_words_gone(old)
                self.relations.pop(write.event_key, None)
                self.events[write.event_key] = replace(
                    old, flags=write.flags, json=write.json, redacted_by=write.redacted_by
                )
            case PutRoom():
                self.rooms[write.room_key] = write
            case AddStateGroup():
                self.groups[write.group] = (write.room_key, write.base, write.entries)
            case PutMembership():
                _put(self.memberships, (write.user_id, write.room_key), write, write.membership is None)
            case PutAlias():
                _put(self.aliases, write.alias, write, write.room_key is None)
            case PutReceipt():
                self.receipts[write.room_key, write.user_id, write.kind, write.thread_id] = write
            case PutAccount():
                self.accounts[write.user_id] = write
            case PutCredential():
                _put(self.credentials, (write.user_id, write.form), write, write.data is None)
            case PutDevice():
                _put(self.devices, (write.user_id, write.device_id), write, write.protocol is None)
            case PutToken():
                _put(self.tokens, write.token_hash, write, write.device_id is None)
            case PutProfile():
                _put(self.profiles, (write.user_id, write.field), write, write.value is None)
            case PutAccountData():
                self.account_data[write.user_id, write.room_id, write.type] = write
            case PutFilter():
                self.filters[write.user_id, write.filter_id] = write
            case PutRosterItem():
                _put(self.rosters, (write.user_id, write.jid), write, write.data is None)
            case PutNode():
                _put(self.nodes, (write.user_id, write.node), write, write.config is None)
            case PutDelayed():
                _put(self.delayed, write.delay_id, write, write.content is None)
            case PutSticky():
                self.sticky[write.event_key] = write
            case ForgetSticky():
                self.sticky = {key: one for key, one in self.sticky.items() if one.until_ts_ms > write.now_ms}
            case PutFastToken():
                _put(self.fast_tokens, (write.user_id, write.client, write.slot), write, write.salt is None)
            case PutPusher():
                _put(self.pushers, (write.user_id, write.app_id, write.pushkey), write, write.settings is None)
            case PutNodeSubscription():
                subscription = (write.user_id, write.node, write.jid)
                _put(self.node_subscriptions, subscription, write, write.subscriber is None)
            case PutNodeItem():
                key = (write.user_id, write.node, write.item_id)
                _put(self.node_items, key, write, write.payload is None)
            case PutRegistrationToken():
                self.registration_tokens[write.token] = write
            case DropRegistrationToken():
                self.registration_tokens.pop(write.token, None)
            case PutName():
                names = self.names.setdefault((write.kind, write.scope), {})
                _put(names, write.key, write.value or "", write.value is None)
            case PutWaitingRedaction():
                self.waiting_redactions.setdefault(write.target, set()).add(write.redaction)
            case PutPartialRoom():
                _put(self.partial_rooms, write.room_key, write, write.join is None)
            case CompleteStates():
                for group, (room_key, base, entries) in self.groups.items():
                    if room_key == write.room_key and base is None:
                        self.groups[group] = (room_key, base, completed(entries, write.entries))
            case PutMissingPast():
                if write.position is not None:
                    self.missing_past.add((write.room_key, write.event_id))
                else:
                    self.missing_past.discard((write.room_key, write.event_id))
            case PutServerBan():
                _put(self.server_bans, (write.kind, write.mask), write, write.setter is None)
            case PutCertificate():
                _put(self.certificates, write.fingerprint, write, write.user_id is None)
            case PutVhost():
                _put(self.vhosts, write.user_id, write, write.host is None)
            case PutClosedRoom():
                if write.by is None:
                    self.closed_rooms.pop(write.room_id, None)
                else:
                    self.closed_rooms.setdefault(write.room_id, write.by)
            case PutRoomPassword():
                _put(self.room_passwords, write.room_key, write, write.verifier is None)
            case PutStrippedState():
                _put(self.stripped_states, write.room_key, write, write.state is None)
            case PutServerKey():
                _put(self.server_keys, (write.server, write.key_id), write, write.public_key is None)
            case PutDestination():
                _put(self.destinations, write.server, write, write.position is None)
            case PutMissedRoom():
                _put(self.missed_rooms, (write.server, write.room_key), write, write.since is None)
            case PutUnanswered():
                _put(self.unanswered, write.server, write, write.txn_id is None)
            case AddReport():
                number = max(self.reports, default=0) + 1
                self.reports[number] = Report(
                    number,
                    write.ts_ms,
                    write.reporter,
                    write.user_id,
                    write.room_id,
                    write.event_id,
                    write.kind,
                    write.reason,
                )
            case DropReport():
                self.reports.pop(write.number, None)
            case ForgetWordsGone():
                self.words_gone = [gone for gone in self.words_gone if gone.number > write.upto]
            case PutStagedPdu():
                if write.room_key is None:
                    self.staged.pop(write.event_id, None)
                else:
                    self.staged.setdefault(write.event_id, write)
            case PutMedia():
                _put(self.media, (write.server, write.media_id), write, write.type is None)
            case PutMediaLink():
                if write.server is None:
                    self.media_links.pop(write.link, None)
                else:
                    self.media_links.setdefault(write.link, write)
            case PutMeta():
                self.meta[write.key] = write.value
            case DropRoom():
                self._drop_room(write.room_key)
            case DropAccount():
                self._drop_account(write.user_id)
            case (
                PutOAuthClient()
                | PutOAuthGrant()
                | PutBrowserSession()
                | DropBrowserSessions()
                | PutIdentity()
                | TrimOAuth()
            ):
                self.apply_oauth(write, {token.client_id for token in self.tokens.values()})
            case PutThreePid() | PutValidation() | TrimValidations() | PutDigest() | PutAccepted() | PutBinding():
                self.apply_contact(write)
            case PutAppService():
                _put(self.app_services, write.service_id, write, write.place is None)
            case PutNetworkRoom():
                listing = (write.service_id, write.network_id, write.room_key)
                _put(self.network_rooms, listing, write, write.listed is None)
            case PutPreview():
                _put(self.previews, (write.url, write.language), write, write.content is None)
            case _:
                self.apply(write)

    def _note_words_gone(self, event: StoredEvent) -> None:
        type_ = self.state_keys[event.event_key][0]
        if event.position is not None and type_ in (None, "m.room.name", "m.room.topic"):
            number = self.words_gone[-1].number + 1 if self.words_gone else 1
            self.words_gone.append(
                WordsGone(number, event.event_key, event.position, event.room_key, event.json)
            )

    def _drop_event(self, key: int) -> None:
        self._note_words_gone(self.events[key])
        self.relations.pop(key, None)
        self.sticky.pop(key, None)
        del self.keys[self.events[key].event_id]
        del self.events[key], self.state_keys[key]

    def _drop_room(self, room_key: int) -> None:
        for key in [key for key, event in self.events.items() if event.room_key == room_key]:
            self._drop_event(key)
        _drop(self.groups, lambda _, group: group[0] == room_key)
        _drop(self.memberships, lambda key, _: key[1] == room_key)
        _drop(self.aliases, lambda _, alias: alias.room_key == room_key)
        _drop(self.receipts, lambda key, _: key[0] == room_key)
        self.room_passwords.pop(room_key, None)
        self.stripped_states.pop(room_key, None)
        self.partial_rooms.pop(room_key, None)
        self.missing_past = {entry for entry in self.missing_past if entry[0] != room_key}
        _drop(self.missed_rooms, lambda key, _: key[1] == room_key)
        self.drop_network_rooms(room_key)
        _drop(self.staged, lambda _, staged: staged.room_key == room_key)
        self.rooms.pop(room_key, None)

    def _drop_account(self, user_id: UserId) -> None:
        self.accounts.pop(user_id, None)
        self.drop_user(user_id)
        self.drop_oauth_of(user_id)
        self.drop_contacts_of(user_id)
        _drop(self.credentials, lambda key, _: key[0] == user_id)
        _drop(self.devices, lambda key, _: key[0] == user_id)
        _drop(self.tokens, lambda _, token: token.user_id == user_id)
        _drop(self.profiles, lambda key, _: key[0] == user_id)
        _drop(self.account_data, lambda key, _: key[0] == user_id)
        _drop(self.filters, lambda key, _: key[0] == user_id)
        _drop(self.rosters, lambda key, _: key[0] == user_id)
        _drop(self.nodes, lambda key, _: key[0] == user_id)
        _drop(self.node_items, lambda key, _: key[0] == user_id)
        _drop(self.delayed, lambda _, write: write.user_id == user_id)
        _drop(self.fast_tokens, lambda key, _: key[0] == user_id)
        _drop(self.pushers, lambda key, _: key[0] == user_id)
        _drop(self.node_subscriptions, lambda key, _: key[0] == user_id)
        _drop(self.memberships, lambda key, _: key[0] == user_id)
        _drop(self.receipts, lambda key, _: key[1] == user_id)

    # -- rooms

    async def load_room(self, room_id: RoomId) -> PutRoom | None:
        return next((row for row in self.rooms.values() if row.room_id == room_id), None)

    async def load_room_by_key(self, room_key: int) -> PutRoom | None:
        return self.rooms.get(room_key)

    async def load_locked_rooms(self) -> Sequence[PutRoom]:
        return [row for row in self.rooms.values() if row.locked_until_ms is not None]

    async def load_listed_rooms(self) -> Sequence[PutRoom]:
        return [row for _, row in sorted(self.rooms.items()) if row.listed]

    async def load_direct_rooms(self, pair: str) -> Sequence[PutRoom]:
        found = [row for row in self.rooms.values() if row.direct_pair == pair]
        return sorted(found, key=lambda row: (row.created_ts_ms, row.room_key))

    def _chain(self, group: int) -> list[tuple[int | None, StateDelta]]:
        """From the whole state at the bottom up to `group`."""
        chain = []
        at: int | None = group
        while at is not None and at in self.groups:
            _, base, entries = self.groups[at]
            chain.append((base, entries))
            at = base
        return chain[::-1]

    async def load_state(self, group: int) -> Mapping[tuple[str, str], int]:
        state: dict[tuple[str, str], int] = {}
        for _, entries in self._chain(group):
            for type_, state_key, position in entries:
                state[type_, state_key] = position
        return state

    async def load_state_chain(self, group: int) -> tuple[int, int]:
        chain = self._chain(group)
        deltas = sum(len(entries) for base, entries in chain if base is not None)
        return deltas, len(chain[0][1]) if chain and chain[0][0] is None else 0

    async def load_events(self, event_keys: Sequence[int]) -> Mapping[int, StoredEvent]:
        return {key: self.events[key] for key in event_keys if key in self.events}

    async def load_events_by_id(self, event_ids: Sequence[EventId]) -> Mapping[EventId, StoredEvent]:
        return {event_id: self.events[self.keys[event_id]] for event_id in event_ids if event_id in self.keys}

    async def load_event(self, event_id: EventId) -> StoredEvent | None:
        key = self.keys.get(event_id)
        return None if key is None else self.events[key]

    def _timeline(self, room_key: int) -> list[tuple[int, StoredEvent]]:
        """(position, event) of a room's timeline, by rising position."""
        placed = [
            (event.position, event)
            for event in self.events.values()
            if event.room_key == room_key and event.position is not None
        ]
        return sorted(placed, key=lambda entry: entry[0])

    async def load_partial_room(self, room_key: int) -> PutPartialRoom | None:
        return self.partial_rooms.get(room_key)

    async def load_partial_rooms(self) -> Sequence[PutPartialRoom]:
        return [write for _, write in sorted(self.partial_rooms.items())]

    async def load_missing_past(self, room_key: int) -> Sequence[EventId]:
        return sorted(event_id for key, event_id in self.missing_past if key == room_key)

    async def load_first_position(self, room_key: int) -> int:
        return min((position for position, _ in self._timeline(room_key)), default=0)

    async def load_waiting_redactions(self, target: EventId) -> Sequence[EventId]:
        return sorted(self.waiting_redactions.get(target, ()))

    async def load_timeline(
        self, room_key: int, *, after: int, upto: int, limit: int, backward: bool
    ) -> Sequence[StoredEvent]:
        found = [event for position, event in self._timeline(room_key) if after < position <= upto and position]
        return found[::-1][:limit] if backward else found[:limit]

    async def load_state_history(self, room_key: int, type: str, state_key: str) -> Sequence[StoredEvent]:
        return [
            event
            for _, event in self._timeline(room_key)
            if self.state_keys[event.event_key] == (type, state_key)
        ]

    async def load_state_changes(
        self, room_key: int, type: str, state_key: str, *, after: int, upto: int
    ) -> Sequence[StoredEvent]:
        past = await self.load_state_history(room_key, type, state_key)
        before = [event for event in past if event.place <= after][-1:]
        return before + [event for event in past if after < event.place <= upto]

    async def load_state_before(
        self, room_key: int, type: str, state_key: str, position: int
    ) -> StoredEvent | None:
        before = [
            event
            for place, event in self._timeline(room_key)
            if place < position and self.state_keys[event.event_key] == (type, state_key)
        ]
        return before[-1] if before else None

    async def load_position_at(self, room_key: int, ts_ms: int) -> int:
        found = [(event.ts_ms, place) for place, event in self._timeline(room_key) if event.ts_ms < ts_ms]
        return max(found)[1] if found else 0

    async def load_events_at(
        self, room_key: int, ts_ms: int, *, forward: bool, limit: int
    ) -> Sequence[StoredEvent]:
        timeline = sorted(
            ((event.ts_ms, position, event) for position, event in self._timeline(room_key) if position),
            key=lambda entry: entry[:2],
            reverse=not forward,
        )
        found = [event for at, _, event in timeline if (at >= ts_ms if forward else at <= ts_ms)]
        return found[:limit]

    async def load_event_by_token(self, room_key: int, token: str) -> Sequence[StoredEvent]:
        return [event for _, event in reversed(self._timeline(room_key)) if event.token == token]

    async def load_memberships(self, user_id: UserId) -> Sequence[MembershipRow]:
        return [
            MembershipRow(room_key, self.rooms[room_key].room_id, write.membership or "leave", write.position)
            for (user, room_key), write in self.memberships.items()
            if user == user_id
        ]

    async def load_last_position(self, room_key: int) -> int:
        timeline = self._timeline(room_key)
        return timeline[-1][0] if timeline else 0

    async def load_alias(self, alias: RoomAlias) -> RoomId | None:
        write = self.aliases.get(alias)
        return None if write is None or write.room_key is None else self.rooms[write.room_key].room_id

    async def load_alias_creator(self, alias: RoomAlias) -> UserId | None:
        write = self.aliases.get(alias)
        return None if write is None else write.creator

    async def load_aliases(self, room_key: int) -> Sequence[RoomAlias]:
        return sorted(alias for alias, write in self.aliases.items() if write.room_key == room_key)

    async def load_receipts(self, room_key: int) -> Sequence[PutReceipt]:
        found = [write for key, write in self.receipts.items() if key[0] == room_key]
        return sorted(found, key=lambda write: write.position)

    async def load_own_receipts(self, room_key: int, user_id: UserId) -> Sequence[PutReceipt]:
        return [write for write in await self.load_receipts(room_key) if write.user_id == user_id]

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]:
        return dict(self.names.get((kind, scope), {}))

    async def load_maxima(self) -> tuple[int, int, int]:
        positions = (
            *self.events,
            *(event.position for event in self.events.values() if event.position is not None),
            *(write.position for write in self.receipts.values()),
            *(write.position for write in self.account_data.values()),
            *(write.position for write in self.node_items.values()),
            *(write.position for write in self.device_changes.values()),
            *(write.position for write in self.to_device.values()),
            *(write.position for write in self.outgoing.values()),
        )
        return max(positions, default=0), max(self.groups, default=0), max(self.rooms, default=0)

    async def load_closed_rooms(self) -> Mapping[RoomId, str]:
        return dict(sorted(self.closed_rooms.items()))

    async def load_room_password(self, room_key: int) -> PutRoomPassword | None:
        return self.room_passwords.get(room_key)

    async def load_stripped_state(self, room_key: int) -> bytes | None:
        write = self.stripped_states.get(room_key)
        return None if write is None else write.state

    async def load_server_keys(self, server: ServerName) -> Sequence[PutServerKey]:
        return [write for (name, _), write in sorted(self.server_keys.items()) if name == server]

    # -- federation

    async def load_log(self, after: int, limit: int) -> Sequence[StoredEvent]:
        found = [event for event in self.events.values() if event.position is not None and event.logged > after]
        return sorted(found, key=lambda event: event.logged)[:limit]

    async def load_placed_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        found = [e for e in self.events.values() if e.position is not None and e.position > position]
        return sorted(found, key=lambda event: event.place)[:limit]

    def _related(self, room_key: int) -> list[RelationRow]:
        """All relations of a room, the oldest first."""
        found = []
        for key, (target, rel_type, type_, sender) in self.relations.items():
            event = self.events[key]
            if event.room_key == room_key and event.position:
                found.append(RelationRow(key, event.position, EventId(target), rel_type, type_, UserId(sender)))
        return sorted(found, key=lambda row: row.position)

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
        found = [
            row
            for row in self._related(room_key)
            if row.target in targets and rel_type in (None, row.rel_type) and after < row.position <= upto
        ]
        return (found[::-1] if backward else found)[:limit]

    async def load_room_relations(
        self, room_key: int, rel_type: str, *, upto: int, limit: int
    ) -> Sequence[RelationRow]:
        found = [row for row in self._related(room_key) if row.rel_type == rel_type and row.position <= upto]
        return found[::-1][:limit]

    async def load_related_rooms(
        self, user_id: UserId, rel_type: str, *, after: int, upto: int
    ) -> Sequence[tuple[RoomId, int]]:
        found = []
        for row in await self.load_memberships(user_id):
            newest = await self.load_room_relations(row.room_key, rel_type, upto=upto, limit=1)
            if row.membership == "join" and newest and newest[0].position > after:
                found.append((row.room_id, newest[0].position))
        return found

    async def load_relation_counts(
        self, room_key: int, targets: Sequence[EventId], without: Sequence[UserId]
    ) -> Sequence[RelationCount]:
        counts: dict[tuple[EventId, str], RelationCount] = {}
        for row in self._related(room_key):
            if row.target in targets and row.sender not in without:
                before = counts.get((row.target, row.rel_type))
                count = 1 if before is None else before.count + 1
                counts[row.target, row.rel_type] = RelationCount(row.target, row.rel_type, count, row.event_key)
        return list(counts.values())

    async def load_related_by(
        self, room_key: int, targets: Sequence[EventId], rel_type: str, sender: UserId
    ) -> frozenset[EventId]:
        return frozenset(
            row.target
            for row in self._related(room_key)
            if row.target in targets and row.rel_type == rel_type and row.sender == sender
        )

    async def load_reports(self, limit: int) -> Sequence[Report]:
        return [report for _, report in sorted(self.reports.items())][:limit]

    async def load_words_gone(self, limit: int) -> Sequence[WordsGone]:
        return self.words_gone[:limit]

    async def load_receipts_after(self, position: int) -> Sequence[PutReceipt]:
        found = [write for write in self.receipts.values() if write.position > position]
        return sorted(found, key=lambda write: write.position)

    async def load_destinations(self) -> Sequence[PutDestination]:
        return [write for _, write in sorted(self.destinations.items())]

    async def load_missed_rooms(self) -> Sequence[PutMissedRoom]:
        return [write for _, write in sorted(self.missed_rooms.items())]

    async def load_unanswered_ids(self) -> Sequence[tuple[ServerName, str]]:
        return [(server, write.txn_id or "") for server, write in sorted(self.unanswered.items())]

    async def load_unanswered(self, server: ServerName) -> bytes | None:
        write = self.unanswered.get(server)
        return write.body if write is not None else None

    async def load_staged_rooms(self) -> Sequence[int]:
        return sorted({write.room_key for write in self.staged.values() if write.room_key is not None})

    async def load_staged_pdus(self, room_key: int) -> Sequence[PutStagedPdu]:
        return [write for write in self.staged.values() if write.room_key == room_key]

    # -- media

    async def load_media(self, server: ServerName, media_id: str) -> PutMedia | None:
        return self.media.get((server, media_id))

    async def is_content_kept(self, content: str) -> bool:
        return any(write.content == content for write in self.media.values())

    async def load_contents(self, after: str, limit: int) -> Sequence[str]:
        contents = {row.content for row in self.media.values() if row.content is not None and row.content > after}
        return sorted(contents)[:limit]

    async def load_uploaded_bytes(self, user_id: UserId) -> int:
        return sum(max(write.size, MEDIA_BLOCK) for write in self.media.values() if write.uploader == user_id)

    async def load_pending_media(self, user_id: UserId) -> Sequence[PutMedia]:
        found = [write for write in self.media.values() if write.uploader == user_id and write.content is None]
        return sorted(found, key=lambda write: (write.created_ts_ms, write.media_id))

    async def load_lapsed_media(self, now_ms: int) -> Sequence[PutMedia]:
        return [
            write
            for _, write in sorted(self.media.items())
            if write.content is None and write.expires_ts_ms is not None and write.expires_ts_ms <= now_ms
        ]

    async def load_cached_media(self, own: ServerName, limit: int) -> Sequence[PutMedia]:
        found = sorted(self._cached(own), key=lambda write: (write.used_ts_ms, write.server, write.media_id))
        return found[:limit]

    async def load_cached_bytes(self, own: ServerName) -> int:
        return sum(write.size for write in self._cached(own))

    def _cached(self, own: ServerName) -> Sequence[PutMedia]:
        return [w for w in self.media.values() if w.uploader is None and w.server != own and not w.quarantined]

    async def load_media_link(self, link: str) -> PutMediaLink | None:
        return self.media_links.get(link)

    async def load_media_links(self, server: ServerName, media_id: str) -> Sequence[PutMediaLink]:
        found = [write for write in self.media_links.values() if (write.server, write.media_id) == (server, media_id)]
        return sorted(found, key=lambda write: (write.subject, write.link))

    async def has_local_member(self, room_key: int) -> bool:
        return any(key == room_key and row.membership == "join" for (_, key), row in self.memberships.items())

    async def load_meta(self, key: str) -> str | None:
        return self.meta.get(key)

    # -- accounts

    async def load_account(self, user_id: UserId) -> PutAccount | None:
        return self.accounts.get(user_id)

    async def load_account_names(self) -> Sequence[str]:
        return [write.name for write in self.accounts.values()]

    async def load_users_like(
        self, part: str, limit: int
    ) -> Sequence[tuple[UserId, str | None, str | None]]:
        found = []
        for account in sorted(self.accounts.values(), key=lambda one: one.user_id):
            profile = {
                field: put.value for (user, field), put in self.profiles.items() if user == account.user_id
            }
            texts = (account.user_id[1:], (profile.get("displayname") or "").casefold())
            if not account.guest and not account.deactivated and any(part in text for text in texts):
                found.append((account.user_id, profile.get("displayname"), profile.get("avatar_url")))
        return found[:limit]

    async def load_guests(self) -> Sequence[PutAccount]:
        return [write for write in self.accounts.values() if write.guest]

    async def load_credential(self, user_id: UserId, form: str) -> bytes | None:
        write = self.credentials.get((user_id, form))
        return None if write is None else write.data

    async def load_devices(self, user_id: UserId) -> Sequence[PutDevice]:
        return [write for (user, _), write in sorted(self.devices.items()) if user == user_id]

    async def load_token(self, token_hash: bytes) -> PutToken | None:
        return self.tokens.get(token_hash)

    async def load_tokens(self, user_id: UserId) -> Sequence[PutToken]:
        return [write for write in self.tokens.values() if write.user_id == user_id]

    async def load_profile(self, user_id: UserId) -> Mapping[str, str]:
        return {
            field: write.value
            for (user, field), write in self.profiles.items()
            if user == user_id and write.value is not None
        }

    async def load_account_data(self, user_id: UserId, since: int) -> Sequence[PutAccountData]:
        found = [w for key, w in self.account_data.items() if key[0] == user_id and w.position > since]
        return sorted(found, key=lambda write: write.position)

    async def load_account_data_of_type(self, type: str) -> Sequence[PutAccountData]:
        return [data for (_, room_id, kind), data in sorted(self.account_data.items()) if (room_id, kind) == ("", type)]

    async def load_filter(self, user_id: UserId, filter_id: str) -> bytes | None:
        write = self.filters.get((user_id, filter_id))
        return None if write is None else write.definition

    async def load_roster(self, user_id: UserId) -> Sequence[bytes]:
        return [w.data for (user, _), w in sorted(self.rosters.items()) if user == user_id and w.data is not None]

    async def load_nodes(self, user_id: UserId) -> Sequence[PutNode]:
        return [write for (user, _), write in sorted(self.nodes.items()) if user == user_id]

    async def load_node(self, user_id: UserId, node: str) -> PutNode | None:
        return self.nodes.get((user_id, node))

    async def load_node_items(self, user_id: UserId, node: str, limit: int) -> Sequence[PutNodeItem]:
        found = [write for key, write in self.node_items.items() if key[:2] == (user_id, node)]
        return sorted(found, key=lambda write: -write.position)[:limit]

    async def load_node_item(self, user_id: UserId, node: str, item_id: str) -> PutNodeItem | None:
        return self.node_items.get((user_id, node, item_id))

    async def load_delayed(self) -> Sequence[PutDelayed]:
        return [write for _, write in sorted(self.delayed.items())]

    async def load_sticky(self, now_ms: int) -> Sequence[StickyRow]:
        rows = []
        for key, one in self.sticky.items():
            if one.until_ts_ms > now_ms:
                event, room = self.events[key], self.rooms[one.room_key]
                position = None if one.failed else event.position
                rows.append(StickyRow(room.room_id, event.event_id, position, one.sender, one.until_ts_ms))
        return sorted(rows, key=lambda row: -1 if row.position is None else row.position)

    async def load_fast_tokens(self, user_id: UserId) -> Sequence[PutFastToken]:
        return [write for key, write in sorted(self.fast_tokens.items()) if key[0] == user_id]

    async def load_pushers(self) -> Sequence[PutPusher]:
        return [write for _, write in sorted(self.pushers.items())]

    async def load_node_subscriptions(self, user_id: UserId) -> Sequence[PutNodeSubscription]:
        return [write for key, write in sorted(self.node_subscriptions.items()) if key[0] == user_id]

    async def load_node_owners(self, node: str) -> Sequence[UserId]:
        return sorted(user for user, name in self.nodes if name == node)

    async def load_published_bytes(self, user_id: UserId) -> int:
        return sum(len(write.payload or b"") for key, write in self.node_items.items() if key[0] == user_id)

    async def load_registration_token(self, token: str) -> PutRegistrationToken | None:
        return self.registration_tokens.get(token)

    async def load_registration_tokens(self) -> Sequence[PutRegistrationToken]:
        return [row for _, row in sorted(self.registration_tokens.items())]

    async def load_server_bans(self) -> Sequence[PutServerBan]:
        return [ban for _, ban in sorted(self.server_bans.items())]

    async def load_certificate(self, fingerprint: str) -> PutCertificate | None:
        return self.certificates.get(fingerprint)

    async def load_certificates(self, user_id: UserId) -> Sequence[PutCertificate]:
        return [row for _, row in sorted(self.certificates.items()) if row.user_id == user_id]

    async def load_vhosts(self) -> Sequence[PutVhost]:
        return [vhost for _, vhost in sorted(self.vhosts.items())]
