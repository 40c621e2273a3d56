"""The push rules that every user has before changing any. Pure.

spec: Matrix client-server module push, "Predefined Rules" (legacy rules on displayname and localpart are not
in it since v1.17). Asking them is push_rules.py's.
"""

from typing import Any, Final

from tripoint.core.ids import UserId

MASTER: Final = ".m.rule.master"
# Those that have the user's id in them.
PERSONAL: Final = frozenset({".m.rule.invite_for_me", ".m.rule.is_user_mention"})
_NOTIFY = ["notify"]
_SOUND = {"set_tweak": "sound", "value": "default"}
_HIGHLIGHT = {"set_tweak": "highlight"}


def _rule(rule_id: str, conditions: list[dict[str, Any]], actions: list[Any], enabled: bool = True) -> dict[str, Any]:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": enabled,
        "conditions": conditions,
        "actions": actions,
    }


def _match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _two_people(type_: str) -> list[dict[str, Any]]:
    return [{"kind": "room_member_count", "is": "2"}, _match("type", type_)]


def default_rules(user_id: UserId) -> dict[str, list[dict[str, Any]]]:
    """The rules of each kind, in their order. Of content, room and sender rules there are none."""
    override = [
        _rule(MASTER, [], [], enabled=False),
        _rule(".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [_match("type", "m.room.member"), _match("content.membership", "invite"), _match("state_key", user_id)],
            [*_NOTIFY, _SOUND],
        ),
        _rule(".m.rule.member_event", [_match("type", "m.room.member")], []),
        _rule(
            ".m.rule.is_user_mention",
            [{"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": user_id}],
            [*_NOTIFY, _SOUND, _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.is_room_mention",
            [
                {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True},
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            [*_NOTIFY, _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.tombstone", [_match("type", "m.room.tombstone"), _match("state_key", "")], [*_NOTIFY, _HIGHLIGHT]
        ),
        _rule(".m.rule.reaction", [_match("type", "m.reaction")], []),
        _rule(".m.rule.room.server_acl", [_match("type", "m.room.server_acl"), _match("state_key", "")], []),
        _rule(
            ".m.rule.suppress_edits",
            [{"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"}],
            [],
        ),
    ]
    underride = [
        _rule(
            ".m.rule.call",
            [_match("type", "m.call.invite")],
            [*_NOTIFY, {"set_tweak": "sound", "value": "ring"}],
        ),
        _rule(".m.rule.encrypted_room_one_to_one", _two_people("m.room.encrypted"), [*_NOTIFY, _SOUND]),
        _rule(".m.rule.room_one_to_one", _two_people("m.room.message"), [*_NOTIFY, _SOUND]),
        _rule(".m.rule.message", [_match("type", "m.room.message")], [*_NOTIFY]),
        _rule(".m.rule.encrypted", [_match("type", "m.room.encrypted")], [*_NOTIFY]),
    ]
    return {"override": override, "underride": underride}
