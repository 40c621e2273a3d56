"""The pure part of sliding sync: required_state, filters, ranges, what a request may hold. spec: MSC4186"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import DeviceId, RoomId, UserId
from tripoint.core.stream_position import StreamPosition
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.sliding.connections import MAX_CONNECTIONS, PER_DEVICE, Connections, State
from tripoint.matrix.sliding.lists import passes, window, within
from tripoint.matrix.sliding.places import Facts, Marks, Place
from tripoint.matrix.sliding.request import Config, Filters, ListWanted, read_stable, read_unstable
from tripoint.matrix.sliding.required_state import (
    Element,
    RequiredState,
    Rule,
    rule_of_elements,
    rule_of_tuples,
)
from tripoint.matrix.sync.tokens import SyncToken, parse_token

ME = "@me:x"
STATE = {
    ("m.room.create", ""): 1,
    ("m.room.topic", ""): 2,
    ("m.room.member", ME): 3,
    ("m.room.member", "@other:x"): 4,
    ("m.space.child", "!a"): 5,
    ("org.example", ME): 6,
}
CREATE, TOPIC, MINE, OTHER, CHILD, EXAMPLE = STATE


@pytest.mark.parametrize(
    ("tuples", "wanted"),
    [
        ([], []),
        ([["m.room.create", ""]], [CREATE]),
        ([["m.room.name", ""]], []),
        ([["*", "*"]], list(STATE)),
        ([["m.room.member", "*"]], [MINE, OTHER]),
        ([["m.room.member", "$ME"]], [MINE]),
        ([["*", "$ME"]], [MINE, EXAMPLE]),
        ([["*", ""]], [CREATE, TOPIC]),
        ([["m.room.member", "$LAZY"]], []),
        ([["m.room.member", "$LAZY"], ["m.room.topic", ""]], [TOPIC]),
        ([["m.room.member", "$LAZY"], ["*", "*"]], [CREATE, TOPIC, CHILD, EXAMPLE]),
        # "the additional entries are FILTERED OUT"
        ([["*", "*"], ["m.room.member", "@other:x"]], [CREATE, TOPIC, OTHER, CHILD, EXAMPLE]),
    ],
)
def test_the_earlier_form_of_required_state(tuples: list[list[str]], wanted: list[Any]) -> None:
    rule = rule_of_tuples([(type_, key) for type_, key in tuples], ME)
    state = RequiredState(frozenset((rule,)))
    assert sorted(state.select(STATE)) == sorted(wanted)
    assert state.lazy_members == (["m.room.member", "$LAZY"] in tuples)


def test_a_wildcard_beside_everything_is_an_error() -> None:
    with pytest.raises(MatrixError) as refused:
        rule_of_tuples([("*", "*"), ("m.space.child", "*")], ME)
    assert refused.value.errcode == "M_INVALID_PARAM"


@pytest.mark.parametrize(
    ("include", "exclude", "lazy", "wanted"),
    [
        ([Element()], [], False, list(STATE)),
        ([Element()], [Element("m.room.create", "")], False, [TOPIC, MINE, OTHER, CHILD, EXAMPLE]),
        ([Element()], [], True, [CREATE, TOPIC, CHILD, EXAMPLE]),
        ([Element(), Element("m.room.member", ME)], [], True, [CREATE, TOPIC, MINE, CHILD, EXAMPLE]),
        ([Element(type="m.space.child")], [], False, [CHILD]),
        ([Element(state_key=ME)], [], False, [MINE, EXAMPLE]),
        ([Element(state_key=ME)], [Element(type="m.room.member")], False, [EXAMPLE]),
        ([], [Element()], True, []),
    ],
)
def test_the_merged_form_of_required_state(
    include: list[Element], exclude: list[Element], lazy: bool, wanted: list[Any]
) -> None:
    state = RequiredState(frozenset((rule_of_elements(include, exclude, lazy=lazy),)))
    assert sorted(state.select(STATE)) == sorted(wanted)
    assert state.lazy_members == lazy


def test_configs_are_combined_to_what_any_of_them_wants() -> None:
    lazy = Config(3, _state([("*", "*"), ("m.room.member", "$LAZY")]))
    topic = Config(10, _state([("m.room.topic", "")]))
    members = Config(1, _state([("m.room.member", "*")]))
    both = lazy.joined(topic)
    assert both.timeline_limit == 10
    assert both.state.lazy_members
    assert sorted(both.state.select(STATE)) == sorted([CREATE, TOPIC, CHILD, EXAMPLE])
    assert both is topic.joined(lazy)
    # Whoever gets all members needs none of them lazily.
    assert not lazy.joined(members).state.lazy_members
    assert sorted(lazy.joined(members).state.select(STATE)) == sorted(STATE)


def _state(tuples: list[tuple[str, str]]) -> RequiredState:
    return RequiredState(frozenset((rule_of_tuples(tuples, ME),)))


@pytest.mark.parametrize(
    ("ranges", "inside"),
    [
        (None, "abcde"),
        (((0, 1),), "ab"),
        (((3, 99),), "de"),
        (((9, 99),), ""),
        (((3, 1),), ""),
        (((0, 0), (2, 3)), "acd"),
        (((0, 2), (1, 3)), "abcd"),
        ((), ""),
    ],
)
def test_ranges_are_inclusive_and_hold_each_room_once(ranges: Any, inside: str) -> None:
    assert within([RoomId(room) for room in "abcde"], ranges) == list(inside)


def _place(room_id: str, membership: str = "join", **facts: Any) -> Place:
    known = {"activity": 1, "room_type": None, "encrypted": False, "name": "", **facts}
    return Place(RoomId(room_id), membership, 1, Facts(**known), 1)


MARKS = Marks(frozenset({"!dm"}), {"!fav": frozenset({"m.favourite", "u.work"})})


@pytest.mark.parametrize(
    ("filters", "place", "passed"),
    [
        (Filters(), _place("!a"), True),
        (Filters(is_dm=True), _place("!dm"), True),
        (Filters(is_dm=True), _place("!a"), False),
        (Filters(is_dm=False), _place("!dm"), False),
        (Filters(is_encrypted=True), _place("!a", encrypted=True), True),
        (Filters(is_encrypted=False), _place("!a", encrypted=True), False),
        (Filters(is_invited=True), _place("!a", "invite"), True),
        (Filters(is_invited=True), _place("!a"), False),
        (Filters(is_invited=False), _place("!a", "invite"), False),
        (Filters(room_types=("m.space",)), _place("!a", room_type="m.space"), True),
        (Filters(room_types=("m.space",)), _place("!a"), False),
        (Filters(room_types=(None,)), _place("!a"), True),
        (Filters(not_room_types=("m.space",)), _place("!a", room_type="m.space"), False),
        (Filters(not_room_types=(None,)), _place("!a"), False),
        (Filters(room_types=("t",), not_room_types=("t",)), _place("!a", room_type="t"), False),
        (Filters(tags=("m.favourite",)), _place("!fav"), True),
        (Filters(tags=("m.favourite",)), _place("!a"), False),
        (Filters(tags=("m.favourite",), not_tags=("u.work",)), _place("!fav"), False),
        (Filters(not_tags=("u.work",)), _place("!a"), True),
        (Filters(spaces=("!s",)), _place("!child"), True),
        (Filters(spaces=("!s",)), _place("!a"), False),
        (Filters(name_like="kaf"), _place("!a", name="das kaffeehaus"), True),
        (Filters(name_like="tee"), _place("!a", name="das kaffeehaus"), False),
    ],
)
def test_filters(filters: Filters, place: Place, passed: bool) -> None:
    assert passes(place, filters, MARKS, {"!child"}) is passed


def test_a_window_has_the_counts_of_what_passes_and_the_rooms_of_the_ranges() -> None:
    places = {RoomId(name): _place(name) for name in ("!c", "!dm", "!a")}
    small, large = Config(1, RequiredState()), Config(20, RequiredState())
    lists = {"all": ListWanted(((0, 1),), Filters(), small), "dms": ListWanted(None, Filters(is_dm=True), large)}
    found = window(places, lists, {RoomId("!a"): large, RoomId("!x"): large}, MARKS, {})
    assert found.counts == {"all": 3, "dms": 1}
    assert found.in_list == {"all": ["!c", "!dm"], "dms": ["!dm"]}
    assert {room: config.timeline_limit for room, config in found.configs.items()} == {"!c": 1, "!dm": 20, "!a": 20}
    assert found.subscribed == {"!a"}


def test_both_forms_of_a_request_say_the_same() -> None:
    old = read_unstable(
        {
            "conn_id": "main",
            "lists": {
                "l": {
                    "ranges": [[0, 9]],
                    "timeline_limit": 1000,
                    "required_state": [["m.room.topic", ""], ["m.room.member", "$LAZY"]],
                    "filters": {"is_invite": False, "room_name_like": "Straße", "not_room_types": ["m.space"]},
                    "include_heroes": True,
                }
            },
            "room_subscriptions": {"!r:x": {"timeline_limit": 0, "required_state": []}},
            "extensions": {"typing": {"enabled": True, "lists": ["l"]}, "org.example.new": {"enabled": 1}},
        },
        "p",
        7,
        "offline",
        ME,
    )
    new = read_stable(
        {
            "conn_id": "main",
            "pos": "p",
            "timeout": 7,
            "set_presence": "offline",
            "lists": {
                "l": {
                    "range": [0, 9],
                    "timeline_limit": 100,
                    "required_state": {
                        "include": [{"type": "m.room.topic", "state_key": ""}],
                        "lazy_members": True,
                    },
                    "filters": {"is_invited": False, "not_room_types": ["m.space"]},
                }
            },
            "room_subscriptions": {"!r:x": {"timeline_limit": 0, "required_state": {}}},
            "extensions": {"typing": {"enabled": True, "lists": ["l"]}},
        }
    )
    assert old.lists["l"].filters.name_like == "strasse"
    assert old.lists["l"].config is new.lists["l"].config
    assert old.lists["l"].ranges == new.lists["l"].ranges
    assert old.lists["l"].filters.not_room_types == new.lists["l"].filters.not_room_types == ("m.space",)
    assert old.lists["l"].filters.is_invited is new.lists["l"].filters.is_invited is False
    assert (old.conn_id, old.pos, old.timeout_ms, old.presence) == (new.conn_id, new.pos, new.timeout_ms, new.presence)
    assert old.subscriptions == new.subscriptions
    assert old.extensions == new.extensions


_LIST = {"timeline_limit": 1, "required_state": {}}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"lists": []}, "M_BAD_JSON"),
        ({"lists": {"l": {}}}, "M_BAD_JSON"),
        ({"lists": {"l": {**_LIST, "timeline_limit": -1}}}, "M_BAD_JSON"),
        ({"lists": {"l": {**_LIST, "range": [0]}}}, "M_BAD_JSON"),
        ({"lists": {"l": {**_LIST, "range": [-1, 4]}}}, "M_BAD_JSON"),
        ({"lists": {"l": {**_LIST, "required_state": [["*", "*"]]}}}, "M_BAD_JSON"),
        ({"extensions": {"typing": {"enabled": "yes"}}}, "M_BAD_JSON"),
        ({"timeout": "1"}, "M_BAD_JSON"),
        ({"set_presence": "away"}, "M_INVALID_PARAM"),
        ({"lists": {str(n): _LIST for n in range(101)}}, "M_INVALID_PARAM"),
        ({"room_subscriptions": {f"!{n}": _LIST for n in range(101)}}, "M_INVALID_PARAM"),
        ({"lists": {"x" * 256: _LIST}}, "M_INVALID_PARAM"),
        ({"conn_id": "x" * 256}, "M_INVALID_PARAM"),
        ({"lists": {"l": {**_LIST, "required_state": {"include": [{}] * 2001}}}}, "M_INVALID_PARAM"),
    ],
)
def test_what_a_request_may_not_hold(body: dict[str, Any], errcode: str) -> None:
    with pytest.raises(MatrixError) as refused:
        read_stable(body)
    assert (refused.value.status, refused.value.errcode) == (400, errcode)


def _junk(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What should be there, or anything else."""
    anything = st.sampled_from([None, True, -1, 2**70, 1.5, "", "*", "$ME", [], {}, [[]], [["*", "*"]], "x" * 300])
    return st.one_of(inner, inner, inner, anything)


_NAMES = st.sampled_from(["*", "$LAZY", "$ME", "m.room.member", ""])
_STATE = st.one_of(
    st.lists(st.tuples(_NAMES, _NAMES)),
    st.fixed_dictionaries(
        {},
        optional={
            "include": _junk(st.lists(st.dictionaries(st.sampled_from(["type", "state_key"]), _junk(_NAMES)))),
            "exclude": _junk(st.lists(st.dictionaries(st.sampled_from(["type", "state_key"]), _NAMES))),
            "lazy_members": _junk(st.booleans()),
        },
    ),
)
_WANTED = {"timeline_limit": _junk(st.integers(0, 200)), "required_state": _junk(_STATE)}
_RANGE = st.lists(st.integers(-1, 9), max_size=3)
_FILTERS = st.dictionaries(st.sampled_from([*Filters.__struct_fields__, "is_invite"]), _junk(st.booleans()))
_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "lists": _junk(
            st.dictionaries(
                st.sampled_from(["a", "b"]),
                _junk(
                    st.fixed_dictionaries(
                        _WANTED,
                        optional={
                            "range": _junk(_RANGE),
                            "ranges": _junk(st.lists(_junk(_RANGE))),
                            "filters": _junk(_FILTERS),
                        },
                    )
                ),
            )
        ),
        "room_subscriptions": _junk(st.dictionaries(_NAMES, _junk(st.fixed_dictionaries(_WANTED)))),
        "extensions": _junk(
            st.dictionaries(
                st.sampled_from(["to_device", "typing", "x"]),
                _junk(st.dictionaries(st.sampled_from(["enabled", "limit", "since", "lists"]), _junk(_NAMES))),
            )
        ),
        "conn_id": _junk(st.text(max_size=3)),
        "pos": _junk(st.text(max_size=3)),
        "timeout": _junk(st.integers(0, 9)),
    },
)


@given(_BODIES)
def test_a_request_is_read_or_refused(body: Any) -> None:
    for read in (read_stable, lambda value: read_unstable(value, None, 0, "online", ME)):
        try:
            request = read(body)
        except MatrixError as refused:
            assert (refused.status, refused.errcode) in {(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")}
            assert refused.error
        else:
            assert all(one.config.timeline_limit <= 100 for one in request.lists.values())


ALICE, PHONE = UserId("@a:x"), DeviceId("PHONE")


def _known(position: int) -> State:
    return State(upto=SyncToken(StreamPosition.at(position)), rooms={})


def _pos(answered: str) -> str:
    return f"s5~0.0~{answered}"


def test_a_connection_answers_at_the_last_pos_again_and_at_no_older_one() -> None:
    connections = Connections()
    connection = connections.begin(ALICE, PHONE, "")
    states = [_known(n) for n in range(4)]
    first = _pos(connection.answered(states[0]))
    assert connections.find(ALICE, PHONE, "", first)[1] is states[0]
    lost = _pos(connection.answered(states[1]))
    # The answer was lost: he asks at the first again, and gets another one. The lost one was never processed.
    assert connections.find(ALICE, PHONE, "", first)[1] is states[0]
    second = _pos(connection.answered(states[2]))
    assert second != lost
    assert connections.find(ALICE, PHONE, "", second)[1] is states[2]
    for old in (first, lost, _pos(f"k{connection.number}.0"), "s5", "", "x" * 3000):
        with pytest.raises(MatrixError) as refused:
            connections.find(ALICE, PHONE, "", old)
        assert (refused.value.status, refused.value.errcode) == (400, "M_UNKNOWN_POS")


def test_a_pos_is_for_its_own_connection() -> None:
    connections = Connections()
    pos = _pos(connections.begin(ALICE, PHONE, "").answered(_known(1)))
    connections.begin(ALICE, PHONE, "other").answered(_known(1))
    connections.begin(UserId("@b:x"), PHONE, "").answered(_known(1))
    for key in ((UserId("@b:x"), PHONE, ""), (ALICE, DeviceId("X"), ""), (ALICE, PHONE, "other")):
        with pytest.raises(MatrixError):
            connections.find(*key, pos)
    assert connections.find(ALICE, PHONE, "", pos)
    connections.end_device(ALICE, PHONE)
    with pytest.raises(MatrixError):
        connections.find(ALICE, PHONE, "", pos)
    assert len(connections) == 1
    assert connections.devices(ALICE) == []


def test_connections_are_bounded() -> None:
    connections = Connections()
    first = _pos(connections.begin(ALICE, PHONE, "0").answered(_known(1)))
    second = _pos(connections.begin(ALICE, PHONE, "1").answered(_known(1)))
    for number in range(2, PER_DEVICE + 1):
        connections.begin(ALICE, PHONE, str(number))
    assert len(connections) == PER_DEVICE
    with pytest.raises(MatrixError):
        connections.find(ALICE, PHONE, "0", first)
    assert connections.find(ALICE, PHONE, "1", second)
    for number in range(MAX_CONNECTIONS):
        connections.begin(UserId(f"@{number}:x"), PHONE, "")
    assert len(connections) == MAX_CONNECTIONS
    with pytest.raises(MatrixError):
        connections.find(ALICE, PHONE, "1", second)


def test_a_pos_is_a_token_to_page_from() -> None:
    """spec: "A `pos` token can be used in `/messages` and `/relations`" """
    assert parse_token(f"s{StreamPosition.at(7).text()}~ab.3~k1.2", "ab") == SyncToken(StreamPosition.at(7), 3)
    with pytest.raises(MatrixError):
        parse_token(f"s{StreamPosition.at(7).text()}~k1", "ab")


def test_a_rule_that_names_all_its_keys_does_not_look_at_the_others() -> None:
    assert Rule(pairs=frozenset({TOPIC})).by_name
    assert not Rule(everything=True).by_name
