"""The authorisation rules in their order; members and power levels have files of their own.

spec: Matrix rooms/v12 "Authorisation rules", and v1 to v11 where a field of RoomVersion says so. Rule 3
(which auth events are cited) is in selection.py. Signatures of servers are checked before, by the caller
(event.required_signers); those of third-party invites here, since the rule itself asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.core.auth_rules.member import check_member, membership_of
from tripoint.core.auth_rules.not_allowed import NotAllowed
from tripoint.core.auth_rules.power_levels import check_power_levels
from tripoint.core.event import Event, StateKey, create_id_of_room
from tripoint.core.ids import InvalidId, parse_user_id, server_of
from tripoint.core.levels import CREATE, PowerLevels
from tripoint.core.room_version import ROOM_VERSIONS


def check_event_auth(
    event: Event, auth_state: Mapping[StateKey, Event], levels: PowerLevels | None = None
) -> None:
    """Raise NotAllowed, naming the rule, unless `auth_state` permits the event.

    `auth_state` may be a whole room state or only what needed_keys_for asks for: unlike the auth events it
    must hold m.room.create in every version. `levels` are those of that state, where the caller has them. Checks
    no signatures of servers and no hashes. Runs up to three times per event, each time with another state.
    """
    version = event.version
    # 1.
    if event.type == "m.room.create":
        _check_create(event)
        return
    # 2. (from version 12 on; before, the create event's presence is rule 2.4 on the auth events.) That the
    # create event was accepted is implied: rejected events are in no state.
    create = auth_state.get(CREATE)
    if create is None:
        raise NotAllowed("room.no_create", "the room's create event is not known")
    if version.room_id_is_create_hash and create_id_of_room(event.room_id) != create.event_id:
        raise NotAllowed("room.not_its_create", "the room id is not that of the create event")
    # 4.
    if create.content.get("m.federate") is False and server_of(event.sender) != server_of(create.sender):
        raise NotAllowed("room.not_federated", "this room is not open to other servers")
    # (4. of versions 3 to 5)
    if version.aliases_auth_rule and event.type == "m.room.aliases":
        if event.state_key is None:
            raise NotAllowed("aliases.no_state_key", "m.room.aliases needs a state key")
        if event.state_key != server_of(event.sender):
            raise NotAllowed("aliases.other_server", "a server can list its own aliases only")
        return
    if levels is None:
        levels = PowerLevels.from_state(auth_state, version)
    # 5.
    if event.type == "m.room.member":
        check_member(event, auth_state, create, levels)
        return
    # 6.
    if membership_of(auth_state, event.sender) != "join":
        raise NotAllowed("sender.not_joined", "the sender is not in the room")
    sender_level = levels.user(event.sender)
    # 7.
    if event.type == "m.room.third_party_invite":
        if sender_level < levels.invite:
            raise NotAllowed("third_party_invite.level", "the sender may not invite")
        return
    # 8.
    required = levels.event(event.type, event.is_state)
    if sender_level < required:
        raise NotAllowed("sender.level", f"this needs power level {required}; the sender has {sender_level}")
    # 9.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        raise NotAllowed("state_key.other_user", "state under a user's id can be set by that user only")
    # 10.
    if event.type == "m.room.power_levels":
        # The previous one is that which it would replace: under another state key there is none, and nothing that
        # anybody reads is changed.
        previous = levels if event.state_key == "" else PowerLevels(None, version, creators=levels.creators)
        check_power_levels(event, previous)
        return
    # (11. of versions 1 and 2)
    if version.redaction_in_auth_rules and event.type == "m.room.redaction":
        _check_redaction(event, levels)
    # 11. Otherwise, allow.


def _check_create(event: Event) -> None:
    version = event.version
    # 1.1
    if event.prev_events:
        raise NotAllowed("create.has_parents", "a create event has no events before it")
    # 1.2 (until version 11; from 12 on parse_event drops a create event that has a room_id)
    if not version.room_id_is_create_hash and server_of(event.room_id) != server_of(event.sender):
        raise NotAllowed("create.other_server", "the room id is of another server than its creator")
    # 1.3
    if "room_version" in event.content and event.content["room_version"] not in _KNOWN_VERSIONS:
        raise NotAllowed("create.unknown_version", "the room version is not known")
    # 1.4 (until version 10)
    if version.creator_in_content and "creator" not in event.content:
        raise NotAllowed("create.no_creator", "the create event names no creator")
    # 1.4 (from version 12 on)
    if version.privileged_creators and "additional_creators" in event.content:
        additional = event.content["additional_creators"]
        if not isinstance(additional, list):
            raise NotAllowed("create.additional_creators", "additional_creators is not a list")
        for user in additional:
            if not isinstance(user, str):
                raise NotAllowed("create.additional_creators", "an additional creator is not a string")
            try:
                parse_user_id(user)
            except InvalidId:
                raise NotAllowed("create.additional_creators", "an additional creator is no user") from None


# A list, not the mapping: the value may be of any JSON type, and not all can be looked up in a mapping.
_KNOWN_VERSIONS = list(ROOM_VERSIONS)


def _check_redaction(event: Event, levels: PowerLevels) -> None:
    # spec: rooms/v1 authorisation rule 11
    if levels.user(event.sender) >= levels.redact:
        return
    target = event.redacts
    if target is not None and target.partition(":")[2] == server_of(event.event_id):
        return
    raise NotAllowed("redaction.level", "the sender may redact events of their own server only")
