"""Events: the signed nodes of a room's graph, from JSON, from a draft, or from our own store.

spec: Matrix server-server-api signing-events, client-server-api size-limits, rooms/v1 to v12 event format.
An event keeps its PDU as canonical bytes, unknown keys and all, because hashes cover them; typed attributes
are read from it. `unsigned` is not kept: no hash covers it, and another server's word does not go on under
our name. Whether an event is allowed in its room is not here. Read next: event_format.py, auth_rules/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson
from msgspec import Struct

from tripoint.core import sticky
from tripoint.core.canonical_json import (
    MAX_SAFE_INTEGER,
    CanonicalJsonError,
    JsonObject,
    check_no_floats,
    decode,
    decode_lenient,
    encode,
    encode_checked,
    encode_lenient,
)
from tripoint.core.event_format import (
    MAX_EVENT_BYTES,
    EventTooLarge,
    InvalidEvent,
    check_format,
    check_lengths,
    content_hash,
    create_id_of_room,
    essential,
    given_id,
    id_of_hash,
    reference_hash,
    reference_id,
    references,
    room_id_of_create,
    write_references,
)
from tripoint.core.ids import (
    EventId,
    InvalidId,
    RoomId,
    ServerName,
    UserId,
    parse_user_id,
    server_of,
)
from tripoint.core.json_view import object_at, text_at
from tripoint.core.room_version import EventFormat, EventIdFormat, RoomVersion
from tripoint.core.signing import BadSignature, SigningKey, check_signatures, decode_base64, encode_base64

__all__ = [
    "Event",
    "EventDraft",
    "EventTooLarge",
    "InvalidEvent",
    "StateKey",
    "build_event",
    "check_content_hash",
    "create_id_of_room",
    "load_event",
    "make_template",
    "parse_event",
    "redact",
    "redact_json",
    "reference_id",
    "reference_text",
    "required_signers",
    "room_id_of_create",
    "same_event",
    "sign_template",
    "verify_event_signature",
]

StateKey: TypeAlias = tuple[str, str]  # (event type, state key)


class EventDraft(Struct, frozen=True):
    """What somebody wants to send, before it has a place in the graph. `room_id` is None where the event will
    make the room (m.room.create from version 12 on). `sticky_ms`: for how long it is sticky (core/sticky.py)."""

    type: str
    sender: UserId
    content: JsonObject
    state_key: str | None = None
    redacts: EventId | None = None
    room_id: RoomId | None = None
    sticky_ms: int | None = None


class Event:
    """One event of a room. Made by parse_event, build_event or load_event; never changed afterwards.

    `content` is shared with whoever looks: do not change it. `json` is the PDU in canonical form, as
    federation sends it. `redacts` is the target of an m.room.redaction, wherever the room version keeps it.
    `sticky_ms`: for how long the event is sticky (core/sticky.py); None for nearly all.
    """

    __slots__ = (
        "_pdu", "auth_events", "content", "depth", "event_id", "json", "origin_server_ts", "prev_events",
        "redacts", "room_id", "sender", "state_key", "sticky_ms", "type", "version",
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
    sticky_ms: int | None
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
    hashes: Mapping[EventId, str] | None = None,
) -> Event:
    """The signed event that a draft becomes at this place of the graph.

    `room_id` is None for the create event of a room whose id is that event's hash, and only there. `hashes`:
    reference_text of the events named, which versions 1 and 2 write beside the ids. Raise InvalidEvent if the
    content has no strict canonical form, EventTooLarge over the size limits; the sender and the other ids are
    taken as parsed. spec: server-server-api adding-hashes-and-signatures-to-outgoing-events
    """
    template = make_template(
        draft,
        version,
        room_id=room_id,
        prev_events=prev_events,
        auth_events=auth_events,
        depth=depth,
        origin_server_ts=origin_server_ts,
        hashes=hashes,
    )
    return sign_template(template, version, server=server, key=key)


def make_template(
    draft: EventDraft,
    version: RoomVersion,
    *,
    room_id: RoomId | None,
    prev_events: Sequence[EventId],
    auth_events: Sequence[EventId],
    depth: int,
    origin_server_ts: int,
    hashes: Mapping[EventId, str] | None = None,
) -> JsonObject:
    """An event without hashes, signatures and given id, as build_event begins and as the answer to make_join
    and its kin holds it. Arguments and errors as for build_event. spec: server-server-api GET /make_join
    """
    if draft.room_id is not None and draft.room_id != room_id:
        raise ValueError("the draft is for another room")
    makes_room = version.room_id_is_create_hash and draft.type == "m.room.create"
    if (room_id is None) != makes_room:
        raise ValueError("an event has a room id unless it makes one")
    content = draft.content
    if draft.redacts is not None and version.redacts_in_content:
        content = {**content, "redacts": draft.redacts}
    check_lengths(draft.type, draft.state_key)
    pdu: JsonObject = {
        "auth_events": write_references(auth_events, version, hashes or {}),
        "content": content,
        "depth": min(depth, version.max_depth),
        "origin_server_ts": origin_server_ts,
        "prev_events": write_references(prev_events, version, hashes or {}),
        "sender": draft.sender,
        "type": draft.type,
    }
    if room_id is not None:
        pdu["room_id"] = room_id
    if draft.sticky_ms is not None:
        pdu[sticky.KEY] = {sticky.DURATION: draft.sticky_ms}
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if draft.redacts is not None and not version.redacts_in_content:
        pdu["redacts"] = draft.redacts
    return pdu


def sign_template(template: JsonObject, version: RoomVersion, *, server: ServerName, key: SigningKey) -> Event:
    """The event that a template becomes when `server` gives it hashes, signature and, in versions 1 and 2, an id.

    The template is taken as checked for format, as make_template leaves it; it is not changed. Raise
    InvalidEvent or EventTooLarge as build_event.
    """
    pdu: JsonObject = {k: v for k, v in template.items() if k not in _MADE_BY_SIGNING}
    try:
        check_no_floats(pdu)
        write = encode_checked
        if isinstance(pdu["depth"], int) and pdu["depth"] > MAX_SAFE_INTEGER:
            # Until version 5 somebody may have driven the depth to where only the lenient form has a word for
            # it. All else is as strict as ever, and the room is not silenced.
            encode_checked({**pdu, "depth": 0})
            write = encode_lenient
        if version.event_id_format is EventIdFormat.GIVEN:
            pdu["event_id"] = given_id(pdu, server)
        # Three encodings: for the content hash; redacted, for signature and id alike; and to keep.
        pdu["hashes"] = {"sha256": encode_base64(hashlib.sha256(write(pdu)).digest())}
        covered = write(version.redaction.redact(pdu))
        pdu["signatures"] = {server: {key.key_id: key.sign(covered)}}
        json = write(pdu)
    except CanonicalJsonError as error:
        raise InvalidEvent(str(error)) from None
    if len(json) > MAX_EVENT_BYTES:
        raise EventTooLarge("the event is over 65536 bytes")
    event_id = pdu.get("event_id")
    if not isinstance(event_id, str):
        event_id = id_of_hash(hashlib.sha256(covered).digest(), version)
    return _event(pdu, json, EventId(event_id), version)


_MADE_BY_SIGNING = frozenset(("event_id", "hashes", "signatures", "unsigned"))


def parse_event(pdu: JsonObject | bytes, version: RoomVersion) -> Event:
    """An event from another server's PDU. Raise InvalidEvent for anything that is not one of this version.

    Checks format, sizes, id grammar and, by version, strict JSON; computes the id. Signatures, hash and rules
    are checked by verify_event_signature, check_content_hash and auth_rules. JSON objects for versions before
    6 must come from decode_lenient. spec: server-server-api checks-performed-on-receipt-of-a-pdu 1
    """
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
        check_format(pdu, version)
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
    event.sticky_ms = sticky.sticky_ms_in(pdu) if sticky.KEY in pdu else None
    event.prev_events = references(pdu["prev_events"], version)
    event.auth_events = references(pdu["auth_events"], version)
    room_id = pdu.get("room_id")
    event.room_id = RoomId(room_id) if isinstance(room_id, str) else room_id_of_create(event_id)
    event.redacts = None
    if event_type == "m.room.redaction":
        redacts = text_at(content if version.redacts_in_content else pdu, "redacts")  # type: ignore[arg-type]
        event.redacts = None if redacts is None else EventId(redacts)
    return event


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


def reference_text(event: Event) -> str:
    """What other events of the room write beside this one's id: its reference hash in unpadded base64 in room
    versions 1 and 2, nothing from 3 on."""
    if event.version.event_format is not EventFormat.V1:
        return ""
    return encode_base64(reference_hash(event.pdu, event.version))


def same_event(one: Event, other: Event) -> bool:
    """Whether two events with one id are the same event, redacted or not.

    Where ids are hashes they are. Where they are given (room versions 1 and 2) two servers, or one that lies, can
    give one id to two events. spec: rooms/v1 event-ids
    """
    if one.event_id != other.event_id or one.version is not other.version:
        return False
    if one.version.event_id_format is not EventIdFormat.GIVEN or one.json == other.json:
        return True
    return reference_hash(one.pdu, one.version) == reference_hash(other.pdu, other.version)


def required_signers(event: Event) -> frozenset[ServerName]:
    """The servers without whose valid signature an event is dropped.

    The sender's, unless the event is a third-party invite, which another server sends; that of the user who let
    a restricted join in; and in room versions 1 and 2 always that of the server that the event's id names. Raise
    InvalidEvent if join_authorised_via_users_server names no user. spec: server-server-api
    validating-hashes-and-signatures-on-received-events, rooms/v8 authorisation rule 4.2.1
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
    if event.version.event_id_format is EventIdFormat.GIVEN:
        signers.add(server_of(event.event_id))
    return frozenset(signers)


def verify_event_signature(event: Event, server: ServerName, keys: Mapping[str, str]) -> None:
    """Raise BadSignature unless `server` has signed the event with one of `keys` (key id → public key).

    Give only keys that were valid at origin_server_ts where version.enforce_key_validity. Works on the
    redacted form, so a redacted copy verifies as well. Which servers must have signed: required_signers.
    """
    try:
        data = essential(event.pdu, event.version)
    except CanonicalJsonError:
        raise BadSignature("the event has no canonical form") from None
    check_signatures(event.pdu.get("signatures"), server, keys, data)


def add_signature(event: Event, server: ServerName, key: SigningKey) -> Event:
    """A copy of an event with one more signature, as servers give it that let somebody in or take an invitation.

    The id is the same: signatures are not part of it.
    """
    return with_signatures(event, server, {key.key_id: key.sign(essential(event.pdu, event.version))})


def with_signatures(event: Event, server: ServerName, signatures: Mapping[str, str]) -> Event:
    """A copy of an event with signatures (key id to signature) of one more server, or more of the same. Unchecked."""
    own: JsonObject = {**object_at(event.signatures, server), **signatures}
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
