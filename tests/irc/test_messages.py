"""What is said, from IRC into the middle and back.  spec: docs/mapping.md 2.10, 10.0-10.8, 12.1"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.attachment import Attachment
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, EventDraft, build_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.relations import Relation
from tripoint.core.room_version import get_room_version
from tripoint.core.signing import SigningKey
from tripoint.irc.events import spoken_to
from tripoint.irc.formatting import strip_codes
from tripoint.irc.messages import TagsTooLarge, content_of, spoken_lines
from tripoint.irc.projection import Names
from tripoint.irc.render import Audience, Outgoing, server_time
from tripoint.irc.wire import Line, parse_line

SERVER = ServerName("example.org")
ANN, BOB = UserId("@ann:example.org"), UserId("@bob:example.org")
KEY = SigningKey("ed25519:t", bytes(32))


class NoTable:
    """A name table that forgets."""

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]:
        return {}

    def put_name(self, kind: str, scope: str, key: str, value: str) -> None:
        pass


class NoFiles:
    """Where this server does not know its own address."""

    upload_url = None

    def url(self, event_id: EventId, attachment: Attachment) -> str | None:
        return None

    def text_url(self, event_id: EventId) -> str | None:
        return None


def names() -> Names:
    return Names(SERVER, NoTable(), NoFiles())


def event_of(content: JsonObject, kind: str = "m.room.message") -> Event:
    return build_event(
        EventDraft(kind, ANN, content),
        get_room_version("12"),
        room_id=RoomId("!" + "a" * 43),
        prev_events=[EventId("$" + "b" * 43)],
        auth_events=[],
        depth=2,
        origin_server_ts=1_700_000_000_123,
        server=SERVER,
        key=KEY,
    )


def lines_of(content: JsonObject) -> list[str]:
    mask = "ann!ann@example.org"
    lines = spoken_lines(names(), event_of(content), mask, "#tea")
    return [line.removeprefix(f":{mask} ") for line in lines]


def nobody(word: str) -> UserId | None:
    return None


def people(word: str) -> UserId | None:
    return {"ann": ANN, "bob": BOB}.get(word.lower())


@pytest.mark.parametrize(
    ("command", "text", "content"),
    [
        ("PRIVMSG", "hi", {"msgtype": "m.text", "body": "hi", "m.mentions": {}}),
        ("NOTICE", "hi", {"msgtype": "m.notice", "body": "hi", "m.mentions": {}}),
        ("PRIVMSG", "\x01ACTION waves\x01", {"msgtype": "m.emote", "body": "waves", "m.mentions": {}}),
        ("PRIVMSG", "\x01ACTION waves", {"msgtype": "m.emote", "body": "waves", "m.mentions": {}}),
        (
            "PRIVMSG",
            "a \x02b\x02",
            {
                "msgtype": "m.text",
                "body": "a b",
                "format": "org.matrix.custom.html",
                "formatted_body": "a <strong>b</strong>",
                "m.mentions": {},
            },
        ),
    ],
)
def test_into_the_middle(command: str, text: str, content: JsonObject) -> None:
    assert content_of(command, text, {}, nobody) == content


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("bob: hello", [BOB]),
        ("bob, ann and Bob", [BOB, ANN]),
        ("@ann", [ANN]),
        ("annex bobby xann a.ann ann.example", []),
        ("http://ann/ mail@ann #ann", []),
        ("(bob)", [BOB]),
        ("bob...", [BOB]),
        ("b\x02o\x02b", [BOB]),
    ],
)
def test_mentions_are_words(text: str, users: list[UserId]) -> None:
    content = content_of("PRIVMSG", text, {}, people)
    assert content["m.mentions"] == ({"user_ids": users} if users else {})
    assert content["body"] == strip_codes(text)


def test_replies_and_unknown_tags_are_kept() -> None:
    tags = {"+draft/reply": "$abc", "+x/y": "1", "label": "l", "+bad key": "1"}
    content = content_of("PRIVMSG", "hi", tags, nobody, Relation("$abc"))
    assert content["m.relates_to"] == {"m.in_reply_to": {"event_id": "$abc"}}
    assert content["dev.tripoint.irc.tags"] == {"+x/y": "1"}
    out = spoken_to(names(), event_of(content), "#tea")[0]
    line = parse_line(out.form(int(Audience.TAGS | Audience.TIME | Audience.ACCOUNT)).removesuffix(b"\r\n"))
    assert isinstance(line, Line)
    assert line.tags.pop("msgid").startswith("$")  # type: ignore[attr-defined]
    assert line.tags == {
        "time": "2023-11-14T22:13:20.123Z",
        "account": "ann",
        "+reply": "$abc",
        "+draft/reply": "$abc",
        "+x/y": "1",
    }
    assert out.form(0) == b":ann!ann@example.org PRIVMSG #tea :hi\r\n"


def test_too_many_tags_are_refused_whole() -> None:
    with pytest.raises(TagsTooLarge):
        content_of("PRIVMSG", "hi", {f"+x/{number}": "v" * 100 for number in range(100)}, nobody)


PLAIN_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=80).filter(
    lambda text: text.strip() and not text.startswith(("\x01",))
)


@given(PLAIN_TEXT, st.sampled_from(("PRIVMSG", "NOTICE")))
def test_plain_text_comes_back_as_it_was(text: str, command: str) -> None:
    assert lines_of(content_of(command, text, {}, nobody)) == [f"{command} #tea :{text}"]


@given(st.text(st.sampled_from("ab \x02\x1d\x1f\x1e\x11\x0f\x0312<&"), min_size=1, max_size=60))
def test_formatted_text_keeps_its_words(text: str) -> None:
    lines = lines_of(content_of("PRIVMSG", text, {}, nobody))
    shown = "".join(strip_codes(line.removeprefix("PRIVMSG #tea :")) for line in lines)
    assert shown.split() == strip_codes(text).split()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=6,
    )
)
def test_content_of_any_shape_is_survived(value: object) -> None:
    for key in ("body", "msgtype", "formatted_body", "m.relates_to", "info", "url", "dev.tripoint.irc.tags"):
        content: JsonObject = {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", key: value}  # type: ignore[dict-item]
        try:
            event = event_of(content)
        except ValueError:
            continue  # no event can hold it
        for out in spoken_to(names(), event, "#tea"):
            for audience in (0, 255):
                for raw in out.form(audience).split(b"\r\n")[:-1]:
                    assert isinstance(parse_line(raw), Line)


def test_only_the_first_line_has_the_id() -> None:
    out = Outgoing(["A", "B"], ts_ms=0, msgid="$1")
    assert out.form(3) == b"@time=1970-01-01T00:00:00.000Z;msgid=$1 A\r\n@time=1970-01-01T00:00:00.000Z B\r\n"


@pytest.mark.parametrize("ts_ms", [-1, -(10**15), 10**18, 2**53])
def test_any_time_is_written(ts_ms: int) -> None:
    assert server_time(ts_ms).endswith("Z")
