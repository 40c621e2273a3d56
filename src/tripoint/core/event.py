"""Events: the signed nodes of a room's graph, from JSON, from a draft, or from our own store.

spec: Matrix server-server-api signing-events, client-server-api size-limits, rooms/v1 to v12 event format.
An event keeps its PDU as canonical bytes, unknown keys and all, because hashes cover them; typed attributes
are read from it. `unsigned` is not kept: no hash covers it, and another server's word does not go on under
our name. Whether an event is allowed in its room is not here. Read next: auth_rules/, graph.py.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import (
    CanonicalJsonError,
    JsonObject,
    check_no_floats,
    decode,
    decode_lenient,
    encode,
    encode_checked,
    encode_lenient,
)
from tripoint.core.errors import PeerError
from tripoint.core.ids import (
    MAX_ID_BYTES,
    EventId,
    InvalidId,
    RoomId,
    ServerName,
    UserId,
    parse_event_id,
    parse_room_id,
    parse_user_id,
    server_of,
)
from tripoint.core.json_view import object_at, text_at
from tripoint.core.room_version import EventFormat, EventIdFormat, RoomVersion
from tripoint.core.signing import BadSignature, SigningKey, check_signatures, decode_base64, encode_base64

StateKey: TypeAlias = tuple[str, str]  # (event type, state key)

MAX_EVENT_BYTES: Final = 65536  # spec: client-server-api size-limits, signatures included
# spec: server-server-api definitions, auth_events and prev_events
MAX_AUTH_EVENTS: Final = 10
MAX_PREV_EVENTS: Final = 20
_MAX_INT64: Final = 2**63 - 1  # room versions 1 to 5: what a store can hold


class InvalidEvent(PeerError):
    """JSON that is no event of this room version. Such an event is dropped.

    spec: server-server-api checks-performed-on-receipt-of-a-pdu 1
    """


class EventTooLarge(InvalidEvent):
    """Over 65,536 bytes in all, or over 255 in type, state key or one of the ids."""


class EventDraft(Struct, frozen=True):
    """What somebody wants to send, before it has a place in the graph. `room_id` is None where the event will
    make the room (m.room.create from version 12 on)."""

    type: str
    sender: UserId
    content: JsonObject
    state_key: str | None = None
    redacts: EventId | None = None
    room_id: RoomId | None = None


class Event:
    """One event of a room. Made by parse_event, build_event or load_event; never changed afterwards.

    `content` is shared with whoever looks: do not change it. `json` is the PDU in canonical form, as
    federation sends it. `redacts` is the target of an m.room.redaction, wherever the room version keeps it.
    """

    __slots__ = (
        "_pdu", "auth_events", "content", "depth", "event_id", "json", "origin_server_ts", "prev_events",
        "redacts", "room_id", "sender", "state_key", "type", "version",
    )  # fmt: skip

    event_id: EventId
    room_id: RoomId
    type: str
    sender: UserId
    state_key: str | None
    content: JsonObject
    origin_server_ts: int
    depth: int
    prev_events: tuple[EventId, ...]
    auth_events: tuple[EventId, ...]
    redacts: EventId | None
    json: bytes
    version: RoomVersion
    _pdu: JsonObject | None

    @property
    def is_state(self) -> bool:
        """Whether this event sets a part of the room's state."""
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state key) of a state event. Raise TypeError for a message: it has no place in the state."""
        if self.state_key is None:
            raise TypeError("not a state event")
        return self.type, self.state_key

    @property
    def pdu(self) -> JsonObject:
        """The whole PDU, decoded when first asked for. Not to be changed."""
        if self._pdu is None:
            self._pdu = _decode_own(self.json, self.version)
        return self._pdu

    @property
    def hashes(self) -> JsonObject:
        """`hashes` as in the PDU: unchecked JSON."""
        return object_at(self.pdu, "hashes")

    @property
    def signatures(self) -> JsonObject:
        """`signatures` as in the PDU: unchecked JSON."""
        return object_at(self.pdu, "signatures")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id and other.json == self.json

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        # No content: an event ends up in logs and tracebacks.
        return f"<Event {self.event_id} {self.type}>"


def build_event(
    draft: EventDraft,
    version: RoomVersion,
    *,
    room_id: RoomId | None,
    prev_events: Sequence[EventId],
    auth_events: Sequence[EventId],
    depth: int,
    origin_server_ts: int,
    server: ServerName,
    key: SigningKey,
) -> Event:
    """The signed event that a draft becomes at this place of the graph.

    `room_id` is None for the create event of a room whose id is that event's hash, and only there. Raise
    InvalidEvent if the content has no strict canonical form, EventTooLarge over the size limits; the sender
    and the other ids are taken as parsed. spec: server-server-api
    adding-hashes-and-signatures-to-outgoing-events
    """
    if draft.room_id is not None and draft.room_id != room_id:
        raise ValueError("the draft is for another room")
    if version.event_format is not EventFormat.V3:
        raise ValueError("events of this room version cannot be made here")
    makes_room = version.room_id_is_create_hash and draft.type == "m.room.create"
    if (room_id is None) != makes_room:
        raise ValueError("an event has a room id unless it makes one")
    content = draft.content
    if draft.redacts is not None and version.redacts_in_content:
        content = {**content, "redacts": draft.redacts}
    _check_lengths(draft.type, draft.state_key)
    pdu: JsonObject = {
        "auth_events": list(auth_events),
        "content": content,
        "depth": min(depth, version.max_depth),
        "origin_server_ts": origin_server_ts,
        "prev_events": list(prev_events),
        "sender": draft.sender,
        "type": draft.type,
    }
    if room_id is not None:
        pdu["room_id"] = room_id
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if draft.redacts is not None and not version.redacts_in_content:
        pdu["redacts"] = draft.redacts
    try:
        check_no_floats(content)
        # Three encodings: for the content hash; redacted, for signature and id alike; and to keep.
        pdu["hashes"] = {"sha256": encode_base64(hashlib.sha256(encode_checked(pdu)).digest())}
        essential = encode_checked(version.redaction.redact(pdu))
        pdu["signatures"] = {server: {key.key_id: key.sign(essential)}}
        json = encode_checked(pdu)
    except CanonicalJsonError as error:
        raise InvalidEvent(str(error)) from None
    if len(json) > MAX_EVENT_BYTES:
        raise EventTooLarge("the event is over 65536 bytes")
    event_id = _id_of_hash(hashlib.sha256(essential).digest(), version)
    return _event(pdu, json, event_id, version)


def parse_event(pdu: JsonObject | bytes, version: RoomVersion) -> Event:
    """An event from another server's PDU. Raise InvalidEvent for anything that is not one of this version.

    Checks format, sizes, id grammar and, by version, strict JSON; computes the id. Signatures, hash and rules
    are checked by verify_event_signature, check_content_hash and auth_rules. JSON objects for versions before
    6 must come from decode_lenient. spec: server-server-api checks-performed-on-receipt-of-a-pdu 1
    """
    if version.event_format is not EventFormat.V3:
        raise InvalidEvent("events of this room version are not read here")
    try:
        if isinstance(pdu, bytes):
            decoded = decode(pdu) if version.strict_json else decode_lenient(pdu)
            if not isinstance(decoded, dict):
                raise InvalidEvent("an event is a JSON object")
            pdu = decoded
        encode_version = encode if version.strict_json else encode_lenient
        json = encode_version(pdu)
        if len(json) > MAX_EVENT_BYTES:
            raise EventTooLarge("the event is over 65536 bytes")
        if "unsigned" in pdu:
            pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
            json = encode_version(pdu)
        _check_format(pdu, version)
        event = _event(pdu, json, reference_id(pdu, version), version)
        event._pdu = pdu  # its hash and signatures are looked at next
        return event
    except CanonicalJsonError as error:
        raise InvalidEvent(str(error)) from None
    except InvalidId as error:
        raise InvalidEvent(str(error)) from None


def load_event(json: bytes, event_id: EventId, version: RoomVersion) -> Event:
    """An event from our own store: the bytes were checked when they were written, so nothing is checked
    here."""
    return _event(_decode_own(json, version), json, event_id, version)


def _decode_own(json: bytes, version: RoomVersion) -> JsonObject:
    decoded = orjson.loads(json) if version.strict_json else decode_lenient(json)
    if not isinstance(decoded, dict):
        raise TypeError("a stored event is not an object")
    return decoded


def _event(pdu: JsonObject, json: bytes, event_id: EventId, version: RoomVersion) -> Event:
    # The types hold: _check_format has seen the PDU, or it is our own.
    event = Event()
    event.event_id = event_id
    event.json = json
    event.version = version
    event._pdu = None
    event.type = event_type = pdu["type"]  # type: ignore[assignment]
    event.sender = pdu["sender"]  # type: ignore[assignment]
    event.content = content = pdu["content"]  # type: ignore[assignment]
    event.state_key = pdu.get("state_key")  # type: ignore[assignment]
    event.origin_server_ts = pdu["origin_server_ts"]  # type: ignore[assignment]
    event.depth = pdu["depth"]  # type: ignore[assignment]
    event.prev_events = tuple(pdu["prev_events"])  # type: ignore[arg-type]
    event.auth_events = tuple(pdu["auth_events"])  # type: ignore[arg-type]
    room_id = pdu.get("room_id")
    event.room_id = RoomId(room_id) if isinstance(room_id, str) else room_id_of_create(event_id)
    event.redacts = None
    if event_type == "m.room.redaction":
        redacts = text_at(content if version.redacts_in_content else pdu, "redacts")  # type: ignore[arg-type]
        event.redacts = None if redacts is None else EventId(redacts)
    return event


def room_id_of_create(event_id: EventId) -> RoomId:
    """The id of the room that this create event makes. spec: rooms/v12 event format"""
    return RoomId("!" + event_id[1:])


def create_id_of_room(room_id: RoomId) -> EventId:
    """The create event's id of a room whose id is its hash (version 12 and later)."""
    return EventId("$" + room_id[1:])


def _check_format(pdu: JsonObject, version: RoomVersion) -> None:
    """Raise InvalidEvent or InvalidId unless the keys of a PDU have the types and sizes of this version."""
    # spec: rooms/v3 event format: "the event_id field is no longer included". An event that has one all the same
    # is dropped by other servers too, and nobody here can take its word for the id.
    if "event_id" in pdu:
        raise InvalidEvent("an event of this room version carries no event_id")
    event_type, sender, state_key = pdu.get("type"), pdu.get("sender"), pdu.get("state_key")
    if not isinstance(event_type, str) or not isinstance(sender, str):
        raise InvalidEvent("an event needs a type and a sender")
    if "state_key" in pdu and not isinstance(state_key, str):
        raise InvalidEvent("state_key is not a string")
    _check_lengths(event_type, state_key if isinstance(state_key, str) else None)
    _check_length(sender, "sender")
    parse_user_id(sender)
    for name in ("content", "hashes", "signatures"):
        if not isinstance(pdu.get(name), dict):
            raise InvalidEvent(f"{name} is not an object")
    # bool is a kind of int in Python, and not in JSON.
    depth, timestamp = pdu.get("depth"), pdu.get("origin_server_ts")
    if type(depth) is not int or not 0 <= depth <= version.max_depth:
        raise InvalidEvent("depth is not a fitting integer")
    if type(timestamp) is not int or not -_MAX_INT64 <= timestamp <= _MAX_INT64:
        raise InvalidEvent("origin_server_ts is not a fitting integer")
    _check_references(pdu.get("prev_events"), MAX_PREV_EVENTS, "prev_events")
    _check_references(pdu.get("auth_events"), MAX_AUTH_EVENTS, "auth_events")
    room_id = pdu.get("room_id")
    if version.room_id_is_create_hash and event_type == "m.room.create":
        # spec: rooms/v12 authorisation rule 1.2: a create event with a room_id is rejected.
        if "room_id" in pdu:
            raise InvalidEvent("a create event has no room_id")
        return
    if not isinstance(room_id, str):
        raise InvalidEvent("an event needs a room_id")
    _check_length(room_id, "room_id")
    parse_room_id(room_id)
    if (":" in room_id) == version.room_id_is_create_hash:
        raise InvalidEvent("room_id has not the form of this room version")


def _check_lengths(event_type: str, state_key: str | None) -> None:
    _check_length(event_type, "type")
    if state_key is not None:
        _check_length(state_key, "state_key")


def _check_length(text: str, what: str) -> None:
    if len(text) * 4 > MAX_ID_BYTES and len(text.encode("utf-8", "replace")) > MAX_ID_BYTES:
        raise EventTooLarge(f"{what} is over {MAX_ID_BYTES} bytes")


def _check_references(value: object, limit: int, what: str) -> None:
    if not isinstance(value, list) or len(value) > limit:
        raise InvalidEvent(f"{what} is not a list of at most {limit}")
    for item in value:
        if not isinstance(item, str):
            raise InvalidEvent(f"{what} holds something that is no id")
        parse_event_id(item)


def reference_hash(pdu: JsonObject, version: RoomVersion) -> bytes:
    """SHA-256 over the redacted event: 32 bytes.

    spec: server-server-api calculating-the-reference-hash-for-an-event
    """
    return hashlib.sha256(_essential(pdu, version)).digest()


def reference_id(pdu: JsonObject, version: RoomVersion) -> EventId:
    """The id of an event whose id is its reference hash (room version 3 and later)."""
    return _id_of_hash(reference_hash(pdu, version), version)


def _essential(pdu: JsonObject, version: RoomVersion) -> bytes:
    # What the signature and the reference hash cover.
    redacted = version.redaction.redact(pdu)
    redacted.pop("signatures", None)
    redacted.pop("unsigned", None)
    return encode_checked(redacted) if version.strict_json else encode_lenient(redacted)


def _id_of_hash(digest: bytes, version: RoomVersion) -> EventId:
    # 32 bytes are 43 digits and one "=".
    alphabet = urlsafe_b64encode if version.event_id_format is EventIdFormat.URLSAFE_HASH else b64encode
    return EventId("$" + alphabet(digest)[:43].decode())


def content_hash(pdu: JsonObject, version: RoomVersion) -> bytes:
    """SHA-256 over the whole event without `unsigned`, `signatures` and `hashes`: 32 bytes.

    spec: server-server-api calculating-the-content-hash-for-an-event
    """
    covered = {key: value for key, value in pdu.items() if key not in _NOT_HASHED}
    encode_version = encode_checked if version.strict_json else encode_lenient
    return hashlib.sha256(encode_version(covered)).digest()


_NOT_HASHED: Final = frozenset(("unsigned", "signatures", "hashes"))


def check_content_hash(event: Event) -> bool:
    """Whether the event is whole: if not it is used redacted.

    spec: server-server-api validating-hashes-and-signatures-on-received-events
    """
    claimed = text_at(event.hashes, "sha256")
    if claimed is None:
        return False
    try:
        return decode_base64(claimed) == content_hash(event.pdu, event.version)
    except ValueError:
        return False


def required_signers(event: Event) -> frozenset[ServerName]:
    """The servers without whose valid signature an event of room version 3 or later is dropped.

    The sender's, unless the event is a third-party invite, which another server sends; and that of the user
    who let a restricted join in. spec: server-server-api validating-hashes-and-signatures-on-received-events,
    rooms/v8 authorisation rule 4.2.1. Raise InvalidEvent if the key names no user.
    """
    signers = {server_of(event.sender)}
    if event.type == "m.room.member":
        if event.content.get("membership") == "invite" and "third_party_invite" in event.content:
            signers.clear()
        if event.version.restricted_join and "join_authorised_via_users_server" in event.content:
            user = text_at(event.content, "join_authorised_via_users_server")
            try:
                signers.add(server_of(parse_user_id(user or "")))
            except InvalidId:
                raise InvalidEvent("join_authorised_via_users_server is not a user id") from None
    return frozenset(signers)


def verify_event_signature(event: Event, server: ServerName, keys: Mapping[str, str]) -> None:
    """Raise BadSignature unless `server` has signed the event with one of `keys` (key id → public key).

    Give only keys that were valid at origin_server_ts where version.enforce_key_validity. Works on the
    redacted form, so a redacted copy verifies as well. Which servers must have signed: required_signers.
    """
    try:
        data = _essential(event.pdu, event.version)
    except CanonicalJsonError:
        raise BadSignature("the event has no canonical form") from None
    check_signatures(event.pdu.get("signatures"), server, keys, data)


def add_signature(event: Event, server: ServerName, key: SigningKey) -> Event:
    """A copy of an event with one more signature, as servers give it that let somebody in or take an invitation.

    The id is the same: signatures are not part of it.
    """
    signature = key.sign(_essential(event.pdu, event.version))
    own: JsonObject = {**object_at(event.signatures, server), key.key_id: signature}
    pdu: JsonObject = {**event.pdu, "signatures": {**event.signatures, server: own}}
    json = encode_checked(pdu) if event.version.strict_json else encode_lenient(pdu)
    return _event(pdu, json, event.event_id, event.version)


def redact_json(pdu: JsonObject, version: RoomVersion) -> JsonObject:
    """A redacted copy of a PDU's JSON. spec: rooms/v1 to v12 redactions"""
    return version.redaction.redact(pdu)


def redact(event: Event) -> Event:
    """The redacted copy of an event: same id, same signatures, contents gone."""
    pdu = redact_json(event.pdu, event.version)
    json = encode_checked(pdu) if event.version.strict_json else encode_lenient(pdu)
    return _event(pdu, json, event.event_id, event.version)
