"""Events: format, ids, hashes, signatures, redaction.  spec: Matrix server-server-api signing-events, rooms/v1-v12"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.graph_builder import ALICE, KEY, RoomBuilder, ids_of, join, powers, rule

from tripoint.core.canonical_json import JsonObject, encode
from tripoint.core.errors import PeerError
from tripoint.core.event import (
    EventDraft,
    EventTooLarge,
    InvalidEvent,
    build_event,
    check_content_hash,
    load_event,
    make_template,
    parse_event,
    redact,
    redact_json,
    reference_id,
    reference_text,
    required_signers,
    room_id_of_create,
    same_event,
    sign_template,
    verify_event_signature,
)
from tripoint.core.event_format import content_hash, reference_hash
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.room_version import ROOM_VERSIONS, SUPPORTED
from tripoint.core.signing import BadSignature, SigningKey, decode_base64, encode_base64, sign_json

ONE = ServerName("one.example")
KEYS = {KEY.key_id: KEY.verify_key_b64}


# The two events of the appendix, "Event Signing"; version 1, whose redaction keeps `origin`.
@pytest.mark.parametrize(
    ("event", "sha256", "signature"),
    [
        (
            {
                "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1000000,
                "signatures": {}, "hashes": {}, "type": "X", "content": {}, "prev_events": [], "auth_events": [],
                "depth": 3, "unsigned": {"age_ts": 1000000},
            },
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            {
                "content": {"body": "Here is the message content"}, "event_id": "$0:domain", "origin": "domain",
                "origin_server_ts": 1000000, "type": "m.room.message", "room_id": "!r:domain",
                "sender": "@u:domain", "signatures": {}, "unsigned": {"age_ts": 1000000},
            },
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)  # fmt: skip
def test_vectors_of_the_appendix(event: JsonObject, sha256: str, signature: str) -> None:
    version = ROOM_VERSIONS["1"]
    key = SigningKey("ed25519:1", decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"))
    event["hashes"] = {"sha256": encode_base64(content_hash(event, version))}
    assert event["hashes"] == {"sha256": sha256}
    signed = sign_json(redact_json(event, version), ServerName("domain"), key)
    assert signed["signatures"] == {"domain": {"ed25519:1": signature}}


def message(room: RoomBuilder, **content: Any) -> JsonObject:
    """A PDU as another server would send it."""
    event = room.make(ALICE, "m.room.message", {"msgtype": "m.text", "body": "hello", **content})
    return json.loads(event.json)  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", SUPPORTED)
def test_built_events_are_valid_everywhere(number: str) -> None:
    room = RoomBuilder(number)
    made = room.make(ALICE, "m.room.message", {"body": "x"}, parents=(room.create,))
    member = room.make(ALICE, "m.room.member", {"membership": "join", "displayname": "A"}, ALICE)
    for event in (room.create, made, member):
        parsed = parse_event(event.json, room.version)
        assert parsed == event and parsed.event_id == event.event_id
        assert check_content_hash(parsed)
        verify_event_signature(parsed, ONE, KEYS)
        assert required_signers(parsed) == {ONE}
        for again in (parsed, load_event(event.json, event.event_id, room.version)):
            for name in ("type", "sender", "state_key", "content", "origin_server_ts", "depth", "prev_events",
                         "auth_events", "redacts", "room_id", "hashes", "signatures"):  # fmt: skip
                assert getattr(again, name) == getattr(event, name), name
        assert reference_id(event.pdu, room.version) == event.event_id
    assert made.prev_events == (room.create.event_id,) and not made.is_state
    assert member.key == ("m.room.member", ALICE)
    with pytest.raises(TypeError):
        _ = made.key


# (version, id of a create event, id of an m.room.power_levels event): made here, and the same to matrix-synapse 1.163.
PINNED = [
    ("3", "$gYz4vvgzy6vucGs6jaVfKmPFu6hCrYxYCWsJHNL6Iuw", "$lnWDiIcKrQBIQrIs14ySJapT5Dv/FZwv0CCN5mRmYSc"),
    ("4", "$MEjOwtrleYOwHMcAczsDNslKusHUVexzM1eyXtdrek8", "$K25a9CoONuSJcFDzMFarl9-8gNneqWE0tg8j6VF2hZA"),
    ("5", "$EvtkIyFWx4xnPD5EDKL_R7wzBXaTSMial5EQJCOI1LU", "$9OQCWF3BSAF1zczYPjcyRRwzJe5WVamhxDGBAZ3-RN8"),
    ("6", "$_K_dViJk44y_NknDH5dOd35WnNWFyAAAZ-iXlTbOhkw", "$E8K_Y7HI5bFNPpxmTz_toaxfRB_BQ-xruZMyf1Tbtng"),
    ("7", "$y5tHHB4mXD49agYtyxQd-YAnxKKF369VfoBRD38ndXM", "$pCOEBBAvzgFI8b_vh73fJUK_ZhxF61gFeN6zOaURsw0"),
    ("8", "$opR91ZDtL8rszp4tfglg0z0bm56G26yGwvY5iOFQOSU", "$Qn4FPSqnLqvLD59aJ0aRh9IjBm1ZD1vC1y8bBP9O580"),
    ("9", "$_qXlypXiDJF00ZBEGVtRipYf5fYVz4lQPRBlUeO9YN8", "$aVhvJU3bAUVXcXQzTPgGEvLBAWixLQgFfjwu0hY6eXE"),
    ("10", "$9Cr4NlTqY0FEf3hgh6EvcPXJR5iExcydmv1O4HOp2d0", "$X3TSRbztJZ8yASxTFStekRcjs4Be3eMyTe8MYGWznm4"),
    ("11", "$1J4uChLe6JFg0pTppI9e9z079TB_Kt0crbKY_l8jZes", "$l53ecu7oxnzRJQWd1A4TYReLPq59dB8ynl2b6sPmMMo"),
    ("12", "$IY8tNN55kq-_D-5Uj_9DekwmHozLRIgolw8U89xsgLk", "$Wr65wVH0kjOlk38cAJwOy7jNc1GQc2eKJfPwwkNRrKU"),
]


@pytest.mark.parametrize(("number", "create", "levels"), PINNED)
def test_ids_do_not_change(number: str, create: str, levels: str) -> None:
    room = RoomBuilder(number)
    users = {} if number == "12" else {ALICE: 100}
    state = room.line(join(ALICE), rule(ALICE, "public"), powers(ALICE, users=users, invite=1))
    assert (room.create.event_id, state["m.room.power_levels", ""].event_id) == (create, levels)


def test_forms_of_event_ids() -> None:
    # v3: unpadded base64; v4 and later: URL-safe unpadded base64.
    seen = "".join(RoomBuilder("3").make(ALICE, "x", {"n": n}).event_id for n in range(40))
    safe = "".join(RoomBuilder("4").make(ALICE, "x", {"n": n}).event_id for n in range(40))
    assert set("+/") & set(seen) and not set("-_=") & set(seen)
    assert set("-_") & set(safe) and not set("+/=") & set(safe)


OLD = ("1", "2")


@pytest.mark.parametrize("number", OLD)
def test_events_that_carry_their_ids(number: str) -> None:
    # spec: rooms/v1 event format
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"))
    event = room.make(ALICE, "m.room.message", {"body": "x"}, state=ids_of(state), parents=tuple(state.values()))
    pdu = json.loads(event.json)
    assert pdu["event_id"] == event.event_id and event.event_id.endswith(":one.example")
    hashes = {i: encode_base64(reference_hash(e.pdu, room.version)) for i, e in room.events.items()}
    assert pdu["prev_events"] == [[e.event_id, {"sha256": hashes[e.event_id]}] for e in state.values()]
    assert pdu["auth_events"] == [[i, {"sha256": hashes[i]}] for i in event.auth_events]
    assert event.prev_events == tuple(e.event_id for e in state.values())
    # The same draft at the same place has the same id, anything else another one.
    assert room.make(ALICE, "m.room.message", {"body": "x"}, at_ms=5).event_id != event.event_id
    # The content hash and the signature cover the id.
    renamed = parse_event({**pdu, "event_id": "$other:one.example"}, room.version)
    assert renamed.event_id == "$other:one.example" and not check_content_hash(renamed)
    with pytest.raises(BadSignature):
        verify_event_signature(renamed, ONE, KEYS)
    assert not same_event(renamed, event)
    assert same_event(redact(event), event)
    twin = parse_event({**pdu, "origin_server_ts": 5}, room.version)
    assert twin.event_id == event.event_id and not same_event(twin, event)


@pytest.mark.parametrize("number", OLD)
@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": None}, {"event_id": 5}, {"event_id": "$hash"}, {"event_id": "x:one.example"},
        {"event_id": "$:one.example"}, {"event_id": "$x:one example"}, {"event_id": "$" + "x" * 250 + ":a.org"},
        {"prev_events": ["$x:one.example"]}, {"prev_events": [["$x:one.example"]]},
        {"prev_events": [["$x:one.example", "sha256"]]}, {"prev_events": [["$x:one.example", {}, {}]]},
        {"prev_events": [["$x:one.example", {}]] * 21}, {"auth_events": [["$x:one.example", {}]] * 11},
        {"auth_events": [[5, {}]]}, {"auth_events": [["$hash", {}]]}, {"auth_events": {}}, {"depth": 2**63},
    ],
)  # fmt: skip
def test_what_is_no_event_of_the_first_versions(number: str, changes: JsonObject) -> None:
    room = RoomBuilder(number)
    pdu = message(room)
    parse_event(pdu, room.version)
    with pytest.raises(InvalidEvent):
        parse_event({**pdu, **changes}, room.version)
    with pytest.raises(InvalidEvent):
        parse_event(message_without(pdu, "event_id"), room.version)


@pytest.mark.parametrize("number", OLD)
def test_the_server_of_the_id_signs_as_well(number: str) -> None:
    # spec: server-server-api "Validating hashes and signatures on received events"
    room = RoomBuilder(number)
    pdu = message(room)
    assert required_signers(parse_event(pdu, room.version)) == {ONE}
    elsewhere = {**pdu, "event_id": "$x:three.example"}
    assert required_signers(parse_event(elsewhere, room.version)) == {ONE, "three.example"}
    invite: JsonObject = {"membership": "invite", "third_party_invite": {}}
    member: JsonObject = {**elsewhere, "type": "m.room.member", "state_key": ALICE, "content": invite}
    assert required_signers(parse_event(member, room.version)) == {"three.example"}
    assert required_signers(parse_event({**member, "event_id": "$x:one.example"}, room.version)) == {ONE}


@pytest.mark.parametrize("number", SUPPORTED)
def test_a_template_becomes_an_event(number: str) -> None:
    # spec: server-server-api GET /make_join: the answer lacks hashes, signatures and, in versions 1 and 2, an id
    room = RoomBuilder(number)
    make = {
        "room_id": room.room_id, "prev_events": [room.create.event_id], "auth_events": [room.create.event_id],
        "depth": 7, "origin_server_ts": 5, "hashes": {room.create.event_id: reference_text(room.create)},
    }  # fmt: skip
    draft = EventDraft("m.room.member", ALICE, {"membership": "join"}, ALICE)
    template = make_template(draft, room.version, **make)  # type: ignore[arg-type]
    assert not {"event_id", "hashes", "signatures"} & template.keys()
    forged: JsonObject = {"event_id": "$x:y.example", "hashes": {"sha256": "x"}, "signatures": {}, "unsigned": {}}
    event = sign_template({**template, **forged}, room.version, server=ONE, key=KEY)
    assert event == build_event(draft, room.version, server=ONE, key=KEY, **make)  # type: ignore[arg-type]
    parsed = parse_event(event.json, room.version)
    assert parsed == event and check_content_hash(parsed)
    verify_event_signature(parsed, ONE, KEYS)
    assert b"unsigned" not in event.json
    with pytest.raises(InvalidEvent):
        sign_template({**template, "x": 0.5}, room.version, server=ONE, key=KEY)


def test_room_id_of_version_12_is_the_create_event() -> None:
    # "The room ID is the event ID of the event with sigil `!` instead of `$`."
    room = RoomBuilder("12")
    assert room.create.room_id == "!" + room.create.event_id[1:] == room_id_of_create(room.create.event_id)
    assert b"room_id" not in room.create.json
    pdu = json.loads(room.create.json)
    with pytest.raises(InvalidEvent):
        parse_event({**pdu, "room_id": room.create.room_id}, room.version)
    other = message(room)
    for room_id in ("!x:one.example", None, 5):
        with pytest.raises(InvalidEvent):
            parse_event({**other, "room_id": room_id}, room.version)
    old = RoomBuilder("11")
    with pytest.raises(InvalidEvent):
        parse_event({**message(old), "room_id": "!hash"}, old.version)


def test_wrong_callers_are_told() -> None:
    room = RoomBuilder("12")
    draft = EventDraft("m.room.message", ALICE, {}, room_id=room.room_id)
    common: dict[str, Any] = {
        "prev_events": (), "auth_events": (), "depth": 1, "origin_server_ts": 1, "server": ONE, "key": KEY,
    }  # fmt: skip
    with pytest.raises(ValueError, match="another room"):
        build_event(draft, room.version, room_id=RoomId("!other"), **common)
    with pytest.raises(ValueError, match="unless it makes one"):
        build_event(EventDraft("m.room.message", ALICE, {}), room.version, room_id=None, **common)
    old = RoomBuilder("2")
    draft = EventDraft("m.room.message", ALICE, {})
    with pytest.raises(KeyError):
        # Versions 1 and 2 write the hashes of what an event refers to.
        build_event(draft, old.version, room_id=old.room_id, **{**common, "prev_events": [old.create.event_id]})


@pytest.mark.parametrize(
    "changes",
    [
        {"type": None}, {"type": 5}, {"sender": None}, {"sender": "alice"}, {"sender": "@a"}, {"state_key": None},
        {"state_key": 1}, {"content": None}, {"content": []}, {"content": "x"}, {"hashes": None}, {"hashes": []},
        {"signatures": None}, {"signatures": "x"}, {"depth": None}, {"depth": -1}, {"depth": True}, {"depth": "1"},
        {"depth": 2**53}, {"depth": 1.0}, {"origin_server_ts": None}, {"origin_server_ts": "1"},
        {"origin_server_ts": False}, {"prev_events": None}, {"prev_events": {}}, {"prev_events": [1]},
        {"prev_events": ["x"]}, {"prev_events": ["$x"] * 21}, {"prev_events": [["$x", {}]]},
        {"auth_events": None}, {"auth_events": ["$x"] * 11}, {"auth_events": ["!x"]}, {"room_id": 1},
        {"content": {"a": 1.5}}, {"content": {"a": 2**53}}, {"content": {"a": "\ud800"}}, {"x": 0.1},
        {"prev_events": ["$" + "x" * 255]},
        {"event_id": "$x"},
    ],
)  # fmt: skip
def test_what_is_no_event(changes: dict[str, Any]) -> None:
    room = RoomBuilder("12")
    pdu = message(room)
    for key, value in changes.items():
        with pytest.raises(InvalidEvent):
            parse_event({**pdu, key: value}, room.version)
        if key not in ("x", "state_key") and value is None:
            with pytest.raises(InvalidEvent):
                parse_event({k: v for k, v in pdu.items() if k != key}, room.version)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b'{"a":1}', b"[" * 5000, b'{"type":"x"}'])
def test_bytes_that_are_no_event(data: bytes) -> None:
    for number in ("1", "3", "12"):
        with pytest.raises(InvalidEvent):
            parse_event(data, ROOM_VERSIONS[number])


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("type", "é" * 127, True), ("type", "é" * 128, False), ("type", "x" * 255, True), ("type", "x" * 256, False),
        ("state_key", "x" * 255, True), ("state_key", "\U0001f600" * 64, False),
        ("sender", "@" + "x" * 252 + ":y", True),
        ("sender", "@" + "x" * 253 + ":y", False),
    ],
)  # fmt: skip
def test_sizes_per_key(key: str, value: str, fits: bool) -> None:
    # spec: client-server-api size-limits, in bytes
    room = RoomBuilder("12")
    pdu = {**message(room), key: value}
    if fits:
        parse_event(pdu, room.version)
    else:
        with pytest.raises(EventTooLarge):
            parse_event(pdu, room.version)


def test_size_of_the_whole() -> None:
    # "MUST NOT be larger than 65536 bytes ... including any signatures, and encoded as Canonical JSON"
    room = RoomBuilder("12")
    frame = len(room.make(ALICE, "m.room.message", {"body": ""}).json)
    largest = room.make(ALICE, "m.room.message", {"body": "x" * (65536 - frame - 1)})
    # One digit of the clock may make the frame a byte larger or smaller: find the exact border.
    spare = 65536 - len(largest.json)
    largest = room.make(ALICE, "m.room.message", {"body": "x" * (65536 - frame - 1 + spare)})
    assert len(largest.json) == 65536
    assert parse_event(largest.json, room.version) == largest
    with pytest.raises(EventTooLarge):
        room.make(ALICE, "m.room.message", {"body": "x" * (65536 - frame + spare)})
    with pytest.raises(EventTooLarge):
        parse_event({**json.loads(largest.json), "unsigned": {}}, room.version)


@pytest.mark.parametrize("content", [{"a": 1.0}, {"a": {"b": [2**53]}}, {"a": "\udfff"}, {1: 2}])
def test_contents_that_cannot_be_signed(content: Any) -> None:
    for number in ("1", "3", "12"):
        with pytest.raises(InvalidEvent):
            RoomBuilder(number).make(ALICE, "m.room.message", content)


def test_unknown_keys_stay_and_unsigned_goes() -> None:
    room = RoomBuilder("11")
    pdu = {**message(room), "org.example.new": {"a": [1]}, "unsigned": {"age": 5}}
    event = parse_event(pdu, room.version)
    assert json.loads(event.json)["org.example.new"] == {"a": [1]}
    assert "unsigned" not in json.loads(event.json)
    # The key was added after the hash was made: then the event is not whole, though its id is the same.
    assert not check_content_hash(event)
    assert event.event_id == parse_event(message_without(pdu, "org.example.new"), room.version).event_id


def message_without(pdu: JsonObject, key: str) -> JsonObject:
    return {k: v for k, v in pdu.items() if k != key}


@pytest.mark.parametrize(
    "hashes", [{}, {"sha256": ""}, {"sha256": 5}, {"sha256": "!"}, {"sha256": "A" * 43}, {"md5": "x"}]
)
def test_a_wrong_content_hash(hashes: JsonObject) -> None:
    room = RoomBuilder("12")
    assert not check_content_hash(parse_event({**message(room), "hashes": hashes}, room.version))


def test_signatures_of_events() -> None:
    room = RoomBuilder("12")
    event = parse_event(message(room), room.version)
    with pytest.raises(BadSignature):
        verify_event_signature(event, ServerName("two.example"), KEYS)
    with pytest.raises(BadSignature):
        verify_event_signature(event, ONE, {})
    other = SigningKey("ed25519:test", b"\x01" * 32)
    with pytest.raises(BadSignature):
        verify_event_signature(event, ONE, {KEY.key_id: other.verify_key_b64})
    # The contents of a message are not covered, its time is.
    verify_event_signature(parse_event({**message(room), "content": {}}, room.version), ONE, KEYS)
    with pytest.raises(BadSignature):
        verify_event_signature(parse_event({**message(room), "origin_server_ts": 5}, room.version), ONE, KEYS)


def test_who_must_sign() -> None:
    room = RoomBuilder("12")
    authorised = {"membership": "join", "join_authorised_via_users_server": "@x:two.example"}
    joined = room.make(ALICE, "m.room.member", authorised, ALICE)
    assert required_signers(joined) == {ONE, "two.example"}
    # Before version 8 the key means nothing.
    assert required_signers(RoomBuilder("7").make(ALICE, "m.room.member", authorised, ALICE)) == {ONE}
    invite = {"membership": "invite", "third_party_invite": {}}
    assert required_signers(room.make(ALICE, "m.room.member", invite, ALICE)) == frozenset()
    for wrong in (5, "x"):
        content: JsonObject = {"membership": "join", "join_authorised_via_users_server": wrong}
        with pytest.raises(InvalidEvent):
            required_signers(room.make(ALICE, "m.room.member", content, ALICE))


@pytest.mark.parametrize("number", ["1", "2", "3", "4", "5"])
def test_old_rooms_take_floats_and_large_numbers(number: str) -> None:
    room = RoomBuilder(number)
    text = json.dumps({**message(room), "content": {"level": 50.57, "big": 2**70}, "depth": 2**63 - 1})
    event = parse_event(text.encode(), room.version)
    assert event.content == {"level": 50.57, "big": 2**70} and event.depth == 2**63 - 1
    again = load_event(event.json, event.event_id, room.version)
    assert again.content == event.content
    assert parse_event(event.json, room.version).event_id == event.event_id
    for later in ("6", "11"):
        with pytest.raises(InvalidEvent):
            parse_event(text.encode(), ROOM_VERSIONS[later])


def test_target_of_a_redaction() -> None:
    target = EventId("$abc")
    for number, inside in (("10", False), ("11", True)):
        room = RoomBuilder(number)
        event = room.make(ALICE, "m.room.redaction", {"reason": "x"}, redacts=target)
        assert event.redacts == parse_event(event.json, room.version).redacts == target
        assert ("redacts" in event.content) is inside
        assert redact(event).redacts == (target if inside else None)
        unclear = {**json.loads(event.json), "redacts": 5, "content": {"redacts": []}}
        assert parse_event(unclear, room.version).redacts is None


REDACTED = [
    ("1", "m.room.aliases", {"aliases": ["#a:b"]}, {"aliases": ["#a:b"]}),
    ("2", "m.room.create", {"creator": "@a:b", "room_version": "2"}, {"creator": "@a:b"}),
    # (version, type, content, what stays)
    ("3", "m.room.aliases", {"aliases": ["#a:b"]}, {"aliases": ["#a:b"]}),
    ("6", "m.room.aliases", {"aliases": ["#a:b"]}, {}),
    ("3", "m.room.member", {"membership": "join", "displayname": "x"}, {"membership": "join"}),
    ("8", "m.room.member", {"membership": "join", "join_authorised_via_users_server": "@a:b"}, {"membership": "join"}),
    ("9", "m.room.member", {"join_authorised_via_users_server": "@a:b"}, {"join_authorised_via_users_server": "@a:b"}),
    ("10", "m.room.member", {"third_party_invite": {"signed": {"a": 1}}}, {}),
    ("11", "m.room.member", {"third_party_invite": {"signed": {"a": 1}, "display_name": "x"}},
     {"third_party_invite": {"signed": {"a": 1}}}),
    ("11", "m.room.member", {"third_party_invite": 5}, {}),
    ("7", "m.room.join_rules", {"join_rule": "restricted", "allow": []}, {"join_rule": "restricted"}),
    ("8", "m.room.join_rules", {"join_rule": "restricted", "allow": []}, {"join_rule": "restricted", "allow": []}),
    ("10", "m.room.create", {"creator": "@a:b", "m.federate": True}, {"creator": "@a:b"}),
    ("11", "m.room.create", {"m.federate": True, "x": 1}, {"m.federate": True, "x": 1}),
    ("10", "m.room.power_levels", {"ban": 1, "invite": 2, "users": {}}, {"ban": 1, "users": {}}),
    ("11", "m.room.power_levels", {"ban": 1, "invite": 2, "notifications": {}}, {"ban": 1, "invite": 2}),
    ("12", "m.room.history_visibility", {"history_visibility": "joined", "x": 1}, {"history_visibility": "joined"}),
    ("12", "m.room.message", {"body": "secret"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("number", "event_type", "content", "stays"), REDACTED)
def test_what_redaction_leaves(number: str, event_type: str, content: JsonObject, stays: JsonObject) -> None:
    pdu: JsonObject = {
        "type": event_type, "content": content, "state_key": "", "origin": "o", "membership": "m", "prev_state": [],
        "age_ts": 1, "unsigned": {}, "redacts": "$x", "sender": "@a:b", "event_id": "$1",
    }  # fmt: skip
    redacted = redact_json(pdu, ROOM_VERSIONS[number])
    assert redacted["content"] == stays
    kept = {"type", "content", "state_key", "sender", "event_id"}
    assert set(redacted) == (kept if int(number) >= 11 else kept | {"origin", "membership", "prev_state"})
    assert redact_json(redacted, ROOM_VERSIONS[number]) == redacted


contents = st.dictionaries(
    st.sampled_from(["membership", "body", "third_party_invite", "users", "redacts", "allow", "x"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec="utf-8"), max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["signed", "a"]), inner),
        max_leaves=5,
    ),
    max_size=4,
)
types = st.sampled_from(["m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "x"])


@given(st.sampled_from(SUPPORTED), types, contents)
def test_a_redacted_copy_keeps_id_and_signature(number: str, event_type: str, content: JsonObject) -> None:
    room = RoomBuilder(number)
    if event_type == "m.room.create":
        event = RoomBuilder(number, **content).create
    else:
        event = room.make(ALICE, event_type, content, "")
    copy = redact(event)
    assert copy.event_id == event.event_id == reference_id(copy.pdu, event.version)
    verify_event_signature(copy, ONE, KEYS)
    assert redact(copy) == copy
    assert check_content_hash(event)
    if copy.content != event.content:
        assert not check_content_hash(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(SUPPORTED),
    st.dictionaries(
        st.sampled_from(["type", "sender", "content", "depth", "prev_events", "auth_events", "hashes", "signatures",
                         "origin_server_ts", "room_id", "state_key", "redacts", "unsigned", "x"]),
        json_values, max_size=4,
    ),
)  # fmt: skip
def test_parse_event_gives_an_event_or_says_no(number: str, changes: JsonObject) -> None:
    room = RoomBuilder(number)
    for pdu in (changes, {**message(room), **changes}):
        try:
            event = parse_event(pdu, room.version)
        except PeerError:
            continue
        assert parse_event(event.json, room.version) == event
        check_content_hash(event)
        try:
            required_signers(event)
        except PeerError:
            pass


@given(st.binary(), st.sampled_from(SUPPORTED))
def test_any_bytes(data: bytes, number: str) -> None:
    with pytest.raises(InvalidEvent):
        parse_event(data, ROOM_VERSIONS[number])


def test_events_are_told_apart_and_show_no_content() -> None:
    room = RoomBuilder("12")
    event = room.make(ALICE, "m.room.message", {"body": "secret"})
    assert event != redact(event) and event == load_event(event.json, event.event_id, room.version)
    assert "secret" not in repr(event) and event.event_id in repr(event)
    assert len({event, load_event(event.json, event.event_id, room.version)}) == 1
    assert encode(event.pdu) == event.json
    assert UserId(event.sender) == ALICE
