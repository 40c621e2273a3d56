"""Which parts of the state permit an event: choosing auth events, and checking the choice of others.

spec: Matrix server-server-api auth-events-selection, rooms/v12 authorisation rules 3
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from tripoint.core.auth_rules.not_allowed import NotAllowed
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, StateKey
from tripoint.core.ids import EventId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.levels import CREATE, POWER_LEVELS
from tripoint.core.room_version import RoomVersion

_JOIN_RULES: StateKey = ("m.room.join_rules", "")


def auth_keys_for(
    event_type: str, sender: str, state_key: str | None, content: JsonObject, version: RoomVersion
) -> list[StateKey]:
    """The keys of the state whose events, where they exist, become the event's auth_events. No key twice.

    From version 12 on m.room.create is not among them, though check_event_auth needs it: needed_keys_for.
    """
    if event_type == "m.room.create":
        return []
    keys = [] if version.room_id_is_create_hash else [CREATE]
    keys += [POWER_LEVELS, ("m.room.member", sender)]
    if event_type != "m.room.member":
        return keys
    if state_key is not None and state_key != sender:
        keys.append(("m.room.member", state_key))
    membership = content.get("membership")
    if membership in ("join", "invite", "knock"):
        keys.append(_JOIN_RULES)
    if membership == "invite" and "third_party_invite" in content:
        token = text_at(object_at(object_at(content, "third_party_invite"), "signed"), "token")
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and version.restricted_join:
        authoriser = text_at(content, "join_authorised_via_users_server")
        if authoriser is not None and authoriser not in (sender, state_key):
            keys.append(("m.room.member", authoriser))
    return keys


def needed_keys_for(
    event_type: str, sender: str, state_key: str | None, content: JsonObject, version: RoomVersion
) -> list[StateKey]:
    """The keys that check_event_auth looks at: auth_keys_for and always m.room.create."""
    keys = auth_keys_for(event_type, sender, state_key, content, version)
    if version.room_id_is_create_hash and event_type != "m.room.create":
        keys.append(CREATE)
    return keys


def needed_keys_of(event: Event) -> list[StateKey]:
    """needed_keys_for an event that exists."""
    return needed_keys_for(event.type, event.sender, event.state_key, event.content, event.version)


def state_of(events: Iterable[Event]) -> dict[StateKey, Event]:
    """State events by their keys. Of two with one key the later in order counts."""
    return {event.key: event for event in events}


def check_auth_events_selection(
    event: Event, auth_events: Sequence[Event], rejected: Container[EventId] = frozenset()
) -> None:
    """Raise NotAllowed unless the events that `event` cites as auth_events may be cited.

    `auth_events` are the cited events, all of them; `rejected` the ids of events that were rejected. For
    events of other servers: ours cite what auth_keys_for says.
    """
    version = event.version
    if event.type == "m.room.create":
        # Rule 1 decides create events before rule 3 is reached; its auth_events are nowhere looked at.
        return
    allowed = set(
        auth_keys_for(event.type, event.sender, event.state_key, event.content, version)
    )
    seen: set[tuple[str, str | None]] = set()
    for auth_event in auth_events:
        key = (auth_event.type, auth_event.state_key)
        # 3.1 (duplicate entries)
        if key in seen:
            raise NotAllowed("auth_events.duplicate", "two auth events for one key")
        seen.add(key)
        # 3.2 (entries that selection does not give)
        if key not in allowed:
            raise NotAllowed("auth_events.unexpected", "an auth event that is not called for")
        # 3.3 (entries that were rejected)
        if auth_event.event_id in rejected:
            raise NotAllowed("auth_events.rejected", "an auth event was itself rejected")
    # 3.4 (no m.room.create among them; not from version 12 on)
    if not version.room_id_is_create_hash and CREATE not in seen:
        raise NotAllowed("auth_events.no_create", "the create event is not among the auth events")
    # 3.5 (of another room)
    if any(auth_event.room_id != event.room_id for auth_event in auth_events):
        raise NotAllowed("auth_events.other_room", "an auth event belongs to another room")
