"""LIST of another server's directory.  spec: docs/mapping.md 6.1; Matrix server-server-api "Public Room Directory" """

import asyncio
from typing import Any

import pytest

from tests.federation.test_joining_views import Scene, scene
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.irc import directory
from tripoint.irc.directory import remote_server
from tripoint.rooms.refusals import Refusal, Refused

HERE = ServerName("b.org")


def row(name: str, **more: Any) -> JsonObject:
    return {"room_id": f"!{name}:a.org", "canonical_alias": f"#{name}:a.org", "num_joined_members": 3, **more}


def answers(at: Scene, chunk: object) -> list[tuple[ServerName, JsonObject]]:
    asked = []

    async def remote_rooms(server: ServerName, wanted: JsonObject) -> JsonObject:
        asked.append((server, wanted))
        if isinstance(chunk, Refused):
            raise chunk
        if chunk is None:
            await asyncio.sleep(3600)
        return {"chunk": chunk}  # type: ignore[dict-item]  # whatever another server sends

    at.two.party.middle.reader.remote_rooms = remote_rooms  # type: ignore[method-assign]  # as it answers
    return asked


def test_the_rooms_of_another_server() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            tea, cups = row("tea", topic="Kettle\r\non"), row("cups", num_joined_members=9)
            asked = answers(at, [tea, cups, row("space", room_type="m.space")])
            await alice.send("LIST *:a.org")
            assert await alice.pending() == [
                ":b.org 321 alice Channel :Users  Name",
                ":b.org 322 alice #cups:a.org 9 :",
                ":b.org 322 alice #tea:a.org 3 :Kettle | on",
                ":b.org 323 alice :End of /LIST",
            ]
            assert [server for server, _ in asked] == ["a.org"]
            await alice.send("LIST #t*:a.org")
            assert [line.split()[3] for line in await alice.pending()][1:-1] == ["#tea:a.org"]
            await alice.send("LIST *:a.org,>5")
            assert [line.split()[3] for line in await alice.pending()][1:-1] == ["#cups:a.org"]

    run(work)


def test_what_is_no_row_is_left_out() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            answers(
                at,
                [
                    5,
                    {},
                    {"room_id": "!x:a.org"},
                    row("bad name"),
                    {**row("tea"), "num_joined_members": -4},
                    {**row("x"), "canonical_alias": "#a\r\nQUIT:a.org"},
                    {**row("y"), "room_id": ["!y:a.org"]},
                ],
            )
            await alice.send("LIST *:a.org")
            assert [line.split(" ", 2)[2] for line in await alice.pending()][1:-1] == ["alice #tea:a.org 0 :"]
            answers(at, {"a": 1})
            await alice.send("LIST *:a.org")
            assert len(await alice.pending()) == 2

    run(work)


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            answers(at, Refused(Refusal.REMOTE_TIMEOUT, "a.org does not answer as it should"))
            await alice.send("LIST *:a.org")
            (line,) = await alice.pending()
            assert " 437 " in line and line.endswith(":a.org does not answer as it should")
            monkeypatch.setattr(directory, "PATIENCE_S", 0.01)
            answers(at, None)
            await alice.send("LIST *:a.org")
            (line,) = await alice.pending()
            assert " 437 " in line and line.endswith(Refusal.REMOTE_TIMEOUT.value)

    run(work)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("*:a.org", ("*", "a.org")),
        ("#t*:a.org:8448,>5", ("#t*", "a.org:8448")),
        ("", None),
        ("*tea*", None),
        ("#tea:a.org", None),
        ("*:b.org", None),
        (">5,*:a.org", None),
    ],
)
def test_which_lists_are_of_another_server(text: str, wanted: object) -> None:
    assert remote_server(text, HERE) == wanted


def test_no_name_of_a_server() -> None:
    with pytest.raises(Refused, match="no name of a server"):
        remote_server("*:a_b/..", HERE)
