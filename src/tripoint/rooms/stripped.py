"""Stripped state: the few facts by which a room is recognised from outside.

spec: Matrix client-server "Stripped state"; server-server-api PUT /invite (invite_room_state), PUT /send_knock
(knock_room_state). It is another server's word: nothing of it decides what anybody may do. Pure.
"""

from collections.abc import Iterable, Mapping

import orjson

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event, create_id_of_room, load_event
from tripoint.core.ids import EventId, RoomId, ServerName
from tripoint.core.room_version import RoomVersion

# spec: "Stripped state": what a server gives at least, and m.room.encryption, which clients look for.
STRIPPED_KEYS = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)
# A room that describes itself at greater length does not want to be recognised.
MAX_EVENTS = 50
MAX_BYTES = 65_536

StateKey = tuple[str, str]


def stripped_of(state: Mapping[StateKey, Event], *members: str) -> list[Event]:
    """The events of a state that are shown outside, and the member events of some users."""
    keys = (*STRIPPED_KEYS, *(("m.room.member", user_id) for user_id in members))
    return [state[key] for key in keys if key in state]


def pack_stripped(given: Iterable[Json], *, member: str | None, server: ServerName) -> bytes:
    """What is kept of stripped state as another server sent it: well-formed entries, each key once, bounded.

    Of member events that of `member` alone (the inviter) is kept, so that nobody is told to be inside who is not;
    and no canonical alias that would be this `server`'s, whose rooms are known here. Whole events are taken too, as
    servers send them from v1.16 on; of them the same four fields are kept.
    """
    kept: dict[StateKey, JsonObject] = {}
    size = 0
    for entry in given:
        if not isinstance(entry, dict):
            continue
        type_, state_key, sender, content = (entry.get(k) for k in ("type", "state_key", "sender", "content"))
        if not (isinstance(type_, str) and isinstance(state_key, str) and isinstance(sender, str)):
            continue
        if not isinstance(content, dict):
            continue
        if type_ == "m.room.member" and state_key != member:
            continue
        if type_ == "m.room.canonical_alias" and str(content.get("alias", "")).endswith(f":{server}"):
            continue
        one: JsonObject = {"type": type_, "state_key": state_key, "sender": sender, "content": content}
        size += len(orjson.dumps(one))
        if len(kept) == MAX_EVENTS or size > MAX_BYTES:
            break
        kept[type_, state_key] = one
    return orjson.dumps(list(kept.values()))


def unpack_stripped(data: bytes, room_id: RoomId, version: RoomVersion) -> dict[StateKey, Event]:
    """Events with these contents, for views to look at. They were never sent: no hash, no signature, no time."""
    found: dict[StateKey, Event] = {}
    for number, entry in enumerate(orjson.loads(data)):
        key = (entry["type"], entry["state_key"])
        pdu: JsonObject = {
            **entry,
            "auth_events": [],
            "prev_events": [],
            "depth": 0,
            "origin_server_ts": 0,
            "hashes": {},
            "signatures": {},
        }
        event_id = EventId(f"$stripped-{number}")
        if version.room_id_is_create_hash and entry["type"] == "m.room.create":
            event_id = create_id_of_room(room_id)
        else:
            pdu["room_id"] = room_id
        found[key] = load_event(orjson.dumps(pdu), event_id, version)
    return found
