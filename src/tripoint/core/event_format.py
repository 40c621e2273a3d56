"""The JSON of events by room version: its keys and sizes, references to other events, hashes and ids.

spec: Matrix rooms/v1 to v12 "Event format", "Event IDs"; client-server-api size-limits; server-server-api
"Calculating the reference hash for an event", "Calculating the content hash for an event". Works on decoded
JSON; event.py makes events of it.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from tripoint.core.canonical_json import Json, JsonObject, encode_checked, encode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.ids import (
    MAX_ID_BYTES,
    EventId,
    RoomId,
    ServerName,
    parse_event_id,
    parse_given_event_id,
    parse_room_id,
    parse_user_id,
)
from tripoint.core.room_version import EventFormat, EventIdFormat, RoomVersion

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


# -- Rooms whose id is that of their create event


def room_id_of_create(event_id: EventId) -> RoomId:
    """The id of the room that this create event makes. spec: rooms/v12 event format"""
    return RoomId("!" + event_id[1:])


def create_id_of_room(room_id: RoomId) -> EventId:
    """The create event's id of a room whose id is its hash (version 12 and later)."""
    return EventId("$" + room_id[1:])


# -- Keys and sizes


def check_format(pdu: JsonObject, version: RoomVersion) -> None:
    """Raise InvalidEvent or InvalidId unless the keys of a PDU have the types and sizes of this version."""
    if version.event_format is EventFormat.V1:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise InvalidEvent("an event of this room version needs an event_id")
        parse_given_event_id(event_id)
    elif "event_id" in pdu:
        # spec: rooms/v3 event format: "the event_id field is no longer included". An event that has one all the
        # same is dropped by other servers too, and nobody here can take its word for the id.
        raise InvalidEvent("an event of this room version carries no event_id")
    event_type, sender, state_key = pdu.get("type"), pdu.get("sender"), pdu.get("state_key")
    if not isinstance(event_type, str) or not isinstance(sender, str):
        raise InvalidEvent("an event needs a type and a sender")
    if "state_key" in pdu and not isinstance(state_key, str):
        raise InvalidEvent("state_key is not a string")
    check_lengths(event_type, state_key if isinstance(state_key, str) else None)
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
    _check_references(pdu.get("prev_events"), MAX_PREV_EVENTS, "prev_events", version)
    _check_references(pdu.get("auth_events"), MAX_AUTH_EVENTS, "auth_events", version)
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


def check_lengths(event_type: str, state_key: str | None) -> None:
    """Raise EventTooLarge where type or state key is over its limit."""
    _check_length(event_type, "type")
    if state_key is not None:
        _check_length(state_key, "state_key")


def _check_length(text: str, what: str) -> None:
    if len(text) * 4 > MAX_ID_BYTES and len(text.encode("utf-8", "replace")) > MAX_ID_BYTES:
        raise EventTooLarge(f"{what} is over {MAX_ID_BYTES} bytes")


def _check_references(value: object, limit: int, what: str, version: RoomVersion) -> None:
    if not isinstance(value, list) or len(value) > limit:
        raise InvalidEvent(f"{what} is not a list of at most {limit}")
    pairs = version.event_format is EventFormat.V1
    for item in value:
        if pairs:
            # spec: rooms/v1 event format: [event id, {"sha256": reference hash}]. The hashes say nothing that
            # the signatures of those events do not say; servers have never compared them.
            if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], dict):
                raise InvalidEvent(f"{what} holds something that is no pair of id and hash")
            item = item[0]
        if not isinstance(item, str):
            raise InvalidEvent(f"{what} holds something that is no id")
        if pairs:
            parse_given_event_id(item)
        else:
            parse_event_id(item)


# -- References to other events


def references(value: object, version: RoomVersion) -> tuple[EventId, ...]:
    """The ids in the prev_events or auth_events of a PDU that check_format has seen."""
    if version.event_format is EventFormat.V1:
        return tuple(item[0] for item in value)  # type: ignore[attr-defined]
    return tuple(value)  # type: ignore[arg-type]


def write_references(
    event_ids: Iterable[EventId], version: RoomVersion, hashes: Mapping[EventId, str]
) -> list[Json]:
    """prev_events or auth_events as JSON. `hashes`: reference hashes by id, which V1 alone writes; raise
    KeyError where it lacks one. spec: rooms/v1, rooms/v3 event format"""
    if version.event_format is EventFormat.V1:
        return [[event_id, {"sha256": hashes[event_id]}] for event_id in event_ids]
    return list(event_ids)


# -- Hashes and ids


def essential(pdu: JsonObject, version: RoomVersion) -> bytes:
    """What signatures of servers and the reference hash cover: the redacted event without `signatures`."""
    redacted = version.redaction.redact(pdu)
    redacted.pop("signatures", None)
    redacted.pop("unsigned", None)
    return encode_checked(redacted) if version.strict_json else encode_lenient(redacted)


def reference_hash(pdu: JsonObject, version: RoomVersion) -> bytes:
    """SHA-256 over the redacted event: 32 bytes.

    spec: server-server-api calculating-the-reference-hash-for-an-event
    """
    return hashlib.sha256(essential(pdu, version)).digest()


def reference_id(pdu: JsonObject, version: RoomVersion) -> EventId:
    """The id of an event: its reference hash, or in room versions 1 and 2 the one it carries."""
    if version.event_id_format is EventIdFormat.GIVEN:
        return pdu["event_id"]  # type: ignore[return-value]  # check_format has seen it
    return id_of_hash(reference_hash(pdu, version), version)


def id_of_hash(digest: bytes, version: RoomVersion) -> EventId:
    """The id of an event with this reference hash, from room version 3 on."""
    # 32 bytes are 43 digits and one "=".
    alphabet = urlsafe_b64encode if version.event_id_format is EventIdFormat.URLSAFE_HASH else b64encode
    return EventId("$" + alphabet(digest)[:43].decode())


def given_id(pdu: JsonObject, server: ServerName) -> EventId:
    """An id for a new event of room version 1 or 2, made by `server`: the hash of what the event says, so that
    it is unique without chance. spec: rooms/v1 event ids: opaque"""
    covered = {key: value for key, value in pdu.items() if key not in ("event_id", "hashes", "signatures")}
    digest = hashlib.sha256(encode_lenient(covered)).digest()
    return EventId(f"${urlsafe_b64encode(digest)[:43].decode()}:{server}")


def content_hash(pdu: JsonObject, version: RoomVersion) -> bytes:
    """SHA-256 over the whole event without `unsigned`, `signatures` and `hashes`: 32 bytes.

    spec: server-server-api calculating-the-content-hash-for-an-event
    """
    covered = {key: value for key, value in pdu.items() if key not in _NOT_HASHED}
    encode_version = encode_checked if version.strict_json else encode_lenient
    return hashlib.sha256(encode_version(covered)).digest()


_NOT_HASHED: Final = frozenset(("unsigned", "signatures", "hashes"))
