"""Rule 5: joining, inviting, leaving and kicking, banning, knocking.

spec: Matrix rooms/v12 authorisation rules 5 (rule 4 in versions 6 to 11). Rule 5.2.1, the signature of the
server that lets a restricted join in, is among event.required_signers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from tripoint.core.auth_rules.not_allowed import NotAllowed
from tripoint.core.canonical_json import CanonicalJsonError, JsonObject, encode, encode_lenient
from tripoint.core.event import Event, StateKey
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.levels import PowerLevels, creator_of
from tripoint.core.signing import BadSignature, verify
from tripoint.core.third_party import standard_key

# A third-party invite has one signature and one or two keys. Without a bound an event of 64 KiB could ask for
# a hundred thousand verifications.
_MAX_VERIFICATIONS: Final = 64


def membership_of(state: Mapping[StateKey, Event], user_id: str) -> str:
    """The user's membership in this state; "leave" for who was never there."""
    event = state.get(("m.room.member", user_id))
    if event is None:
        return "leave"
    return text_at(event.content, "membership") or "leave"


def check_member(event: Event, state: Mapping[StateKey, Event], create: Event, levels: PowerLevels) -> None:
    """Raise NotAllowed unless rule 5 permits this m.room.member event."""
    # 5.1
    target, membership = event.state_key, event.content.get("membership")
    if target is None or membership is None:
        raise NotAllowed("member.malformed", "a membership needs a state key and a membership")
    # 5.3 to 5.7
    if membership == "join":
        _check_join(event, target, state, create, levels)
    elif membership == "invite":
        _check_invite(event, target, state, levels)
    elif membership == "leave":
        _check_leave(event, target, state, levels)
    elif membership == "ban":
        _check_ban(event, target, state, levels)
    elif membership == "knock" and event.version.knock_join:
        _check_knock(event, target, state)
    else:
        # 5.8
        raise NotAllowed("member.unknown", "this membership does not exist")


def _join_rule(state: Mapping[StateKey, Event]) -> str:
    event = state.get(("m.room.join_rules", ""))
    # spec: m.room.join_rules: without the event, or the key, nobody comes in unasked
    return "invite" if event is None else text_at(event.content, "join_rule") or "invite"


def _check_join(
    event: Event, target: str, state: Mapping[StateKey, Event], create: Event, levels: PowerLevels
) -> None:
    version = event.version
    # 5.3.1
    if event.prev_events == (create.event_id,) and target == creator_of(create):
        return
    # 5.3.2
    if event.sender != target:
        raise NotAllowed("member.join.other_user", "nobody can join for somebody else")
    membership = membership_of(state, target)
    # 5.3.3
    if membership == "ban":
        raise NotAllowed("member.join.banned", "the user is banned from the room")
    rule = _join_rule(state)
    # 5.3.4
    if rule == "invite" or (rule == "knock" and version.knock_join):
        if membership in ("invite", "join"):
            return
        raise NotAllowed("member.join.not_invited", "this room is joined by invitation only")
    # 5.3.5
    if (rule == "restricted" and version.restricted_join) or (
        rule == "knock_restricted" and version.knock_restricted_join
    ):
        # 5.3.5.1
        if membership in ("join", "invite"):
            return
        # 5.3.5.2
        authoriser = text_at(event.content, "join_authorised_via_users_server")
        if authoriser is None:
            raise NotAllowed("member.join.not_authorised", "no member of the room has let this user in")
        if membership_of(state, authoriser) != "join" or levels.user(authoriser) < levels.invite:
            raise NotAllowed("member.join.not_authorised", "the member named may not invite")
        # 5.3.5.3
        return
    # 5.3.6
    if rule == "public":
        return
    # 5.3.7
    raise NotAllowed("member.join.rule", "the join rule lets nobody in")


def _check_invite(
    event: Event, target: str, state: Mapping[StateKey, Event], levels: PowerLevels
) -> None:
    # 5.4.1
    if "third_party_invite" in event.content:
        _check_third_party_invite(event, target, state)
        return
    # 5.4.2
    if membership_of(state, event.sender) != "join":
        raise NotAllowed("member.invite.sender_not_joined", "the sender is not in the room")
    # 5.4.3
    membership = membership_of(state, target)
    if membership == "join":
        raise NotAllowed("member.invite.already_joined", "the user is in the room already")
    if membership == "ban":
        raise NotAllowed("member.invite.banned", "the user is banned from the room")
    # 5.4.4, 5.4.5
    if levels.user(event.sender) < levels.invite:
        raise NotAllowed("member.invite.level", f"inviting needs power level {levels.invite}")


def _check_third_party_invite(event: Event, target: str, state: Mapping[StateKey, Event]) -> None:
    # 5.4.1.1
    if membership_of(state, target) == "ban":
        raise NotAllowed("member.invite.banned", "the user is banned from the room")
    # 5.4.1.2
    signed = object_at(event.content, "third_party_invite").get("signed")
    if not isinstance(signed, dict):
        raise NotAllowed("member.invite.third_party.malformed", "the third-party invite is not signed")
    # 5.4.1.3
    mxid, token = text_at(signed, "mxid"), text_at(signed, "token")
    if mxid is None or token is None:
        raise NotAllowed("member.invite.third_party.malformed", "the third-party invite names nobody")
    # 5.4.1.4
    if mxid != target:
        raise NotAllowed("member.invite.third_party.other_user", "the third-party invite is for another user")
    # 5.4.1.5
    invite = state.get(("m.room.third_party_invite", token))
    if invite is None:
        raise NotAllowed("member.invite.third_party.unknown", "there is no such third-party invite")
    # 5.4.1.6
    if event.sender != invite.sender:
        raise NotAllowed("member.invite.third_party.sender", "the third-party invite is of another sender")
    # 5.4.1.7, 5.4.1.8
    if not _signed_by_any(signed, _public_keys(invite.content), event):
        raise NotAllowed("member.invite.third_party.signature", "the third-party invite is not signed")


def _public_keys(content: JsonObject) -> list[str]:
    # 5.4.1.7.1, 5.4.1.7.2
    keys = [content.get("public_key")]
    keys += [entry.get("public_key") for entry in list_at(content, "public_keys") if isinstance(entry, dict)]
    return [standard_key(key) for key in keys if isinstance(key, str)]


def _signed_by_any(signed: JsonObject, keys: list[str], event: Event) -> bool:
    covered: JsonObject = {k: v for k, v in signed.items() if k not in ("signatures", "unsigned")}
    try:
        data = encode(covered) if event.version.strict_json else encode_lenient(covered)
    except CanonicalJsonError:
        return False
    tries = 0
    for by_server in object_at(signed, "signatures").values():
        if not isinstance(by_server, dict):
            continue
        for key_id, signature in by_server.items():
            if not key_id.startswith("ed25519:") or not isinstance(signature, str):
                continue
            for key in keys:
                tries += 1
                if tries > _MAX_VERIFICATIONS:
                    return False
                try:
                    verify(key, data, signature)
                except BadSignature:
                    continue
                return True
    return False


def _check_leave(event: Event, target: str, state: Mapping[StateKey, Event], levels: PowerLevels) -> None:
    membership = membership_of(state, target)
    # 5.5.1
    if event.sender == target:
        if membership in ("invite", "join") or (membership == "knock" and event.version.knock_join):
            return
        raise NotAllowed("member.leave.not_there", "the user is not in the room")
    # 5.5.2
    if membership_of(state, event.sender) != "join":
        raise NotAllowed("member.leave.sender_not_joined", "the sender is not in the room")
    sender_level, target_level = levels.user(event.sender), levels.user(target)
    # 5.5.3
    if membership == "ban" and sender_level < levels.ban:
        raise NotAllowed("member.unban.level", f"lifting a ban needs power level {levels.ban}")
    # 5.5.4, 5.5.5
    if sender_level < levels.kick:
        raise NotAllowed("member.kick.level", f"kicking needs power level {levels.kick}")
    if target_level >= sender_level:
        _refuse_equal("member.kick.equal", target_level, sender_level)


def _check_ban(event: Event, target: str, state: Mapping[StateKey, Event], levels: PowerLevels) -> None:
    # 5.6.1
    if membership_of(state, event.sender) != "join":
        raise NotAllowed("member.ban.sender_not_joined", "the sender is not in the room")
    # 5.6.2, 5.6.3
    sender_level, target_level = levels.user(event.sender), levels.user(target)
    if sender_level < levels.ban:
        raise NotAllowed("member.ban.level", f"banning needs power level {levels.ban}")
    if target_level >= sender_level:
        _refuse_equal("member.ban.equal", target_level, sender_level)


def _refuse_equal(rule: str, target_level: float, sender_level: float) -> NoReturn:
    if target_level == sender_level:
        raise NotAllowed(rule, "they have the same power level as the sender")
    raise NotAllowed(rule, "they have a higher power level than the sender")


def _check_knock(event: Event, target: str, state: Mapping[StateKey, Event]) -> None:
    # 5.7.1
    rule = _join_rule(state)
    if rule != "knock" and not (rule == "knock_restricted" and event.version.knock_restricted_join):
        raise NotAllowed("member.knock.rule", "this room takes no knocks")
    # 5.7.2
    if event.sender != target:
        raise NotAllowed("member.knock.other_user", "nobody can knock for somebody else")
    # 5.7.3, 5.7.4
    if membership_of(state, target) in ("ban", "invite", "join"):
        raise NotAllowed("member.knock.membership", "the user is banned, invited or in the room")
