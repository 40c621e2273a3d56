"""The administrators' API of rooms. docs/operate/administration.md"""

from typing import Any

import pytest

from tests.matrix.admin import Admin, admin_of
from tests.matrix.client import Server, matrix, q
from tests.support.middle import run
from tripoint.store.writes import AddReport

SAY = {"msgtype": "m.text", "body": "again"}


async def settled(server: Server) -> None:
    await server.party.middle.desk.jobs.settled()


async def ids(admin: Admin, **query: str) -> list[str]:
    return [room["room_id"] for room in (await admin.done("GET", "/v1/rooms", **query))["rooms"]]


def test_rooms_are_listed_and_shown() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            tea = await bob.create(
                preset="public_chat", name="Tea", topic="Hot", room_alias_name="tea", visibility="public"
            )
            milk = await bob.create(preset="private_chat", name="Milk")
            await eve.join(tea)
            found = await ada.done("GET", "/v1/rooms")
            assert (found["offset"], found["total_rooms"], "next_batch" in found) == (0, 2, False)
            assert [room["name"] for room in found["rooms"]] == ["Milk", "Tea"]
            line = found["rooms"][1]
            assert line == {
                "room_id": tea,
                "name": "Tea",
                "canonical_alias": "#tea:example.org",
                "joined_members": 2,
                "joined_local_members": 2,
                "version": "12",
                "creator": bob.user_id,
                "encryption": None,
                "federatable": True,
                "public": True,
                "join_rules": "public",
                "guest_access": line["guest_access"],
                "history_visibility": "shared",
                "state_events": line["state_events"],
                "room_type": None,
            }
            page = await ada.done("GET", "/v1/rooms", limit="1")
            assert page["next_batch"] == 1
            page = await ada.done("GET", "/v1/rooms", limit="1", **{"from": "1"})
            assert page["prev_batch"] == 0 and [room["room_id"] for room in page["rooms"]] == [tea]
            assert await ids(ada, search_term="ilk") == [milk] and await ids(ada, search_term="#tea") == [tea]
            assert await ids(ada, order_by="joined_members") == [tea, milk]
            assert await ids(ada, order_by="joined_members", dir="b") == [milk, tea]
            assert await ids(ada, public_rooms="true") == [tea] and await ids(ada, empty_rooms="true") == []
            shown = await ada.done("GET", f"/v1/rooms/{q(tea)}")
            assert (shown["topic"], shown["joined_local_devices"], shown["tombstoned"]) == ("Hot", 2, False)
            members = await ada.done("GET", f"/v1/rooms/{q(tea)}/members")
            assert (sorted(members["members"]), members["total"]) == ([bob.user_id, eve.user_id], 2)
            state = (await ada.done("GET", f"/v1/rooms/{q(tea)}/state"))["state"]
            assert len(state) == line["state_events"]
            only = (await ada.done("GET", f"/v1/rooms/{q(tea)}/state", type="m.room.topic"))["state"]
            assert [event["content"]["topic"] for event in only] == ["Hot"]
            ends = await ada.done("GET", f"/v1/rooms/{q('#tea:example.org')}/forward_extremities")
            assert ends["count"] == 1 and ends["results"][0]["event_id"].startswith("$")
            for path in ("", "/members", "/state", "/messages", "/forward_extremities"):
                assert await ada.no("GET", f"/v1/rooms/{q('!no:example.org')}{path}") == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v1/rooms/tea") == (400, "M_INVALID_PARAM")
            assert await ada.no("GET", "/v1/rooms", search_term="") == (400, "M_INVALID_PARAM")
            assert await ada.no("GET", "/v1/rooms", order_by="age") == (400, "M_INVALID_PARAM")
            assert await ada.no("DELETE", f"/v1/rooms/{q(tea)}/forward_extremities") == (405, "M_UNRECOGNIZED")

    run(work)


def test_what_was_said_where_one_is_not() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="private_chat")
            said = [await bob.say(room, str(number)) for number in range(7)]
            path = f"/v1/rooms/{q(room)}"
            page = await ada.done("GET", f"{path}/messages", dir="b", limit="3")
            assert [event["content"]["body"] for event in page["chunk"]] == ["6", "5", "4"]
            page = await ada.done("GET", f"{path}/messages", dir="b", limit="3", **{"from": page["end"]})
            assert [event["content"]["body"] for event in page["chunk"]] == ["3", "2", "1"]
            page = await ada.done(
                "GET", f"{path}/messages", dir="f", filter='{"types":["m.room.message"]}', limit="100"
            )
            assert [event["event_id"] for event in page["chunk"]] == said and "end" not in page
            first = await ada.done("GET", f"{path}/messages", dir="f", limit="1")
            assert first["chunk"][0]["type"] == "m.room.create"
            around = await ada.done("GET", f"{path}/context/{said[3]}", limit="4")
            assert around["event"]["event_id"] == said[3] and around["state"]
            assert [event["event_id"] for event in around["events_before"]] == [said[2], said[1]]
            assert [event["event_id"] for event in around["events_after"]] == [said[4], said[5]]
            assert (await ada.done("GET", f"/v1/fetch_event/{said[0]}"))["event"]["content"]["body"] == "0"
            near = await ada.done("GET", f"{path}/timestamp_to_event", ts="0", dir="f")
            assert near["event_id"] == first["chunk"][0]["event_id"]
            assert await ada.no("GET", f"{path}/context/$no") == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v1/fetch_event/$no") == (404, "M_NOT_FOUND")
            assert await ada.no("GET", f"{path}/messages", dir="x") == (400, "M_INVALID_PARAM")
            assert await ada.no("GET", f"{path}/messages", filter="{") == (400, "M_INVALID_PARAM")

    run(work)


def test_blocking_a_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await bob.create(preset="public_chat")
            path = f"/v1/rooms/{q(room)}/block"
            assert await ada.done("GET", path) == {"block": False}
            assert await ada.done("PUT", path, {"block": True}) == {"block": True}
            assert await ada.done("GET", path) == {"block": True, "user_id": ada.user_id}
            assert await eve.refused("POST", f"/join/{q(room)}", {}) == (404, "M_NOT_FOUND")
            await bob.say(room, "still here")
            assert await ada.done("PUT", path, {"block": False}) == {"block": False}
            await eve.join(room)
            other = f"/v1/rooms/{q('!other:away.org')}/block"
            await ada.done("PUT", other, {"block": True})
            assert await eve.refused("POST", f"/join/{q('!other:away.org')}", {}) == (404, "M_NOT_FOUND")
            assert await ada.no("PUT", path, {}) == (400, "M_MISSING_PARAM")
            assert await ada.no("PUT", path, {"block": 1}) == (400, "M_BAD_JSON")

    run(work)


@pytest.mark.parametrize("version", ["/v1", "/v2"])
def test_deleting_a_room(version: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await bob.create(preset="public_chat", room_alias_name="tea", visibility="public")
            await eve.join(room)
            await bob.say(room, "bad things")
            await eve.sync()
            body = {
                "new_room_user_id": ada.user_id,
                "room_name": "What happened",
                "message": "Not here",
                "block": True,
                "purge": True,
            }
            answer = await ada.done("DELETE", f"{version}/rooms/{q(room)}", body)
            if version == "/v2":
                await settled(server)
                job = await ada.done("GET", f"/v2/rooms/delete_status/{answer['delete_id']}")
                assert (job["status"], job["room_id"], job["delete_id"]) == ("complete", room, answer["delete_id"])
                by_room = await ada.done("GET", f"/v2/rooms/{q(room)}/delete_status")
                assert by_room == {"results": [job]}
                answer = job["shutdown_room"]
            assert sorted(answer["kicked_users"]) == [bob.user_id, eve.user_id]
            assert answer["failed_to_kick_users"] == [] and answer["local_aliases"] == ["#tea:example.org"]
            new = answer["new_room_id"]
            assert sorted((await eve.call("GET", "/joined_rooms"))["joined_rooms"]) == [new]
            assert (await eve.call("GET", "/directory/room/%23tea:example.org"))["room_id"] == new
            news = await eve.sync()
            bodies = [event["content"].get("body") for event in news["rooms"]["join"][new]["timeline"]["events"]]
            assert "Not here" in bodies
            assert await eve.refused("PUT", f"/rooms/{q(new)}/send/m.room.message/1", SAY) == (403, "M_FORBIDDEN")
            # Nothing of it is left, and nobody gets in again.
            assert await ada.no("GET", f"/v1/rooms/{q(room)}") == (404, "M_NOT_FOUND")
            assert await server.party.middle.store.load_room(room) is None  # type: ignore[arg-type]
            assert await eve.refused("POST", f"/join/{q(room)}", {}) == (404, "M_NOT_FOUND")
            assert (await ada.done("GET", f"/v1/rooms/{q(room)}/block"))["block"]
            rooms = (await eve.call("GET", "/publicRooms"))["chunk"]
            assert room not in [one["room_id"] for one in rooms]
            # Again: nothing is there to be done.
            assert (await ada.done("DELETE", f"/v1/rooms/{q(room)}", {}))["kicked_users"] == []

    run(work)


def test_emptying_a_room_without_purging_it() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await bob.create(preset="public_chat", invite=[ada.user_id])
            await eve.join(room)
            answer = await ada.done("DELETE", f"/v1/rooms/{q(room)}", {"purge": False})
            assert sorted(answer["kicked_users"]) == [ada.user_id, bob.user_id, eve.user_id]
            assert answer["new_room_id"] is None
            shown = await ada.done("GET", f"/v1/rooms/{q(room)}")
            assert (shown["joined_members"], shown["public"]) == (0, False)
            state = await ada.done("GET", f"/v1/rooms/{q(room)}/state", type="m.room.member")
            assert {event["content"]["membership"] for event in state["state"]} == {"leave"}
            for body, errcode in (
                ({"block": 1}, "M_BAD_JSON"),
                ({"new_room_user_id": "@no:example.org"}, "M_INVALID_PARAM"),
                ({"new_room_user_id": "@a:away.org"}, "M_INVALID_PARAM"),
            ):
                for version in ("v1", "v2"):
                    assert await ada.no("DELETE", f"/{version}/rooms/{q(room)}", body) == (400, errcode)
            for path in ("/v2/rooms/delete_status/no", f"/v2/rooms/{q(room)}/delete_status"):
                assert await ada.no("GET", path) == (404, "M_NOT_FOUND")

    run(work)


def test_a_deletion_goes_on_after_a_restart() -> None:
    """Begun twice, a room takes its place once."""

    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="public_chat")
            asked = await ada.done("DELETE", f"/v2/rooms/{q(room)}", {"new_room_user_id": ada.user_id})
            desk = server.party.middle.desk
            await desk.jobs.close()
            await desk.jobs.start()
            await settled(server)
            job = await ada.done("GET", f"/v2/rooms/delete_status/{asked['delete_id']}")
            assert job["status"] == "complete"
            assert await ids(ada) == [job["shutdown_room"]["new_room_id"]]

    run(work)


def test_purging_history() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="public_chat", topic="kept")
            said = []
            for number in range(6):
                server.party.clock.now += 1
                said.append(await bob.say(room, f"purple{number}"))
            path = f"/v1/purge_history/{q(room)}"

            async def status(asked: Any) -> str:
                await settled(server)
                answer = await ada.done("GET", f"/v1/purge_history_status/{asked['purge_id']}")
                assert isinstance(answer["status"], str)
                return answer["status"]

            async def there() -> list[str]:
                page = await ada.done("GET", f"/v1/rooms/{q(room)}/messages", dir="f", limit="100")
                return [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]

            assert await status(await ada.done("POST", f"{path}/{said[3]}", {})) == "complete"
            assert await there() == said  # what people of this server said stays unless one says otherwise
            body = {"delete_local_events": True}
            assert await status(await ada.done("POST", f"{path}/{said[2]}", body)) == "complete"
            assert await there() == said[2:]
            assert await bob.refused("GET", f"/rooms/{q(room)}/event/{said[0]}") == (404, "M_NOT_FOUND")
            own = await bob.call("GET", f"/rooms/{q(room)}/messages", dir="b", limit="100")
            assert [e["event_id"] for e in own["chunk"] if e["type"] == "m.room.message"] == said[:1:-1]
            ts = server.party.clock.ms()
            body = {"purge_up_to_ts": ts + 5000, "delete_local_events": True}
            assert await status(await ada.done("POST", path, body)) == "complete"
            assert await there() == said[5:]  # an end of the graph stays
            assert (await bob.call("GET", f"/rooms/{q(room)}/state/m.room.topic"))["topic"] == "kept"
            await bob.say(room, "goes on")
            assert await ada.no("POST", path, {}) == (400, "M_MISSING_PARAM")
            assert await ada.no("POST", f"{path}/$no", {}) == (404, "M_NOT_FOUND")
            assert await ada.no("POST", path, {"purge_up_to_ts": 5}) == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v1/purge_history_status/no") == (404, "M_NOT_FOUND")

    run(work)


def test_people_are_taken_in_and_given_rights() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await bob.create(preset="private_chat", room_alias_name="tea")
            assert await ada.done("POST", "/v1/join/%23tea:example.org", {"user_id": eve.user_id}) == {"room_id": room}
            assert room in (await eve.call("GET", "/joined_rooms"))["joined_rooms"]
            await ada.done("POST", f"/v1/rooms/{q(room)}/make_room_admin", {"user_id": eve.user_id})
            levels = await bob.call("GET", f"/rooms/{q(room)}/state/m.room.power_levels")
            assert levels["users"][eve.user_id] >= 75
            await ada.done("POST", f"/v1/rooms/{q(room)}/make_room_admin", {})
            assert room in (await ada.sync())["rooms"]["invite"]
            for body, expected in (
                ({}, (400, "M_MISSING_PARAM")),
                ({"user_id": "@no:example.org"}, (404, "M_NOT_FOUND")),
                ({"user_id": "@no:away.org"}, (400, "M_INVALID_PARAM")),
            ):
                assert await ada.no("POST", f"/v1/join/{q(room)}", body) == expected
            assert await ada.no("POST", "/v1/join/%23no:example.org", {"user_id": eve.user_id}) == (404, "M_NOT_FOUND")
            empty = await bob.create(preset="private_chat")
            await bob.call("POST", f"/rooms/{q(empty)}/leave", {})
            answer = await ada.no("POST", f"/v1/rooms/{q(empty)}/make_room_admin", {})
            assert answer == (400, "M_UNKNOWN")

    run(work)


def test_reports() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob, eve = await admin_of(server), await server.register("bob"), await server.register("eve")
            room = await eve.create(preset="public_chat", name="Tea")
            await bob.join(room)
            said = [await bob.say(room, f"spam {number}") for number in range(3)]
            for event_id in said:
                server.party.clock.now += 1
                await eve.call("POST", f"/rooms/{q(room)}/report/{event_id}", {"reason": f"{event_id} is spam"})
            row = AddReport(5, eve.user_id, bob.user_id, None, None, "spam", "rude")  # type: ignore[arg-type]
            await server.party.middle.stream.commit([row])
            found = await ada.done("GET", "/v1/event_reports")
            assert found["total"] == 3 and [one["event_id"] for one in found["event_reports"]] == said[::-1]
            one = found["event_reports"][0]
            assert (one["user_id"], one["sender"], one["name"], one["room_id"]) == (
                eve.user_id,
                bob.user_id,
                "Tea",
                room,
            )
            page = await ada.done("GET", "/v1/event_reports", dir="f", limit="2")
            assert [one["event_id"] for one in page["event_reports"]] == said[:2] and page["next_token"] == 2
            assert (await ada.done("GET", "/v1/event_reports", user_id="nobody"))["total"] == 0
            assert (await ada.done("GET", "/v1/event_reports", event_sender_user_id="bob"))["total"] == 3
            shown = await ada.done("GET", f"/v1/event_reports/{one['id']}")
            assert shown["event_json"]["content"]["body"] == "spam 2" and shown["reason"].endswith("is spam")
            assert await ada.done("DELETE", f"/v1/event_reports/{one['id']}") == {}
            assert await ada.no("GET", f"/v1/event_reports/{one['id']}") == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v1/event_reports/x") == (400, "M_INVALID_PARAM")
            people = await ada.done("GET", "/v1/user_reports")
            assert people["total"] == 1 and people["user_reports"][0]["target_user_id"] == bob.user_id
            number = people["user_reports"][0]["id"]
            assert (await ada.done("GET", f"/v1/user_reports/{number}"))["reason"] == "rude"
            assert await ada.no("GET", f"/v1/event_reports/{number}") == (404, "M_NOT_FOUND")
            assert await ada.done("DELETE", f"/v1/user_reports/{number}") == {}
            assert (await ada.done("GET", "/v1/user_reports", dir="f"))["total"] == 0

    run(work)


def test_notices() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            body = {"user_id": bob.user_id, "content": {"msgtype": "m.text", "body": "Maintenance at noon"}}
            sent = await ada.done("POST", "/v1/send_server_notice", body)
            assert sent["event_id"].startswith("$")
            (room,) = (await bob.sync())["rooms"]["invite"]
            once = await ada.done("PUT", "/v1/send_server_notice/t1", body)
            assert await ada.done("PUT", "/v1/send_server_notice/t1", body) == once != sent
            await bob.join(room)
            page = await bob.call("GET", f"/rooms/{q(room)}/messages", dir="b")
            bodies = [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
            assert bodies == ["Maintenance at noon"] * 2
            for change, expected in (
                ({"user_id": "@no:example.org"}, (404, "M_NOT_FOUND")),
                ({"user_id": "@no:away.org"}, (400, "M_INVALID_PARAM")),
                ({"content": {}}, (400, "M_BAD_JSON")),
                ({"content": None}, (400, "M_MISSING_PARAM")),
                ({"type": "m.sticker"}, (400, "M_UNRECOGNIZED")),
                ({"content": {"msgtype": "m.image", "body": "x"}}, (400, "M_UNRECOGNIZED")),
            ):
                assert await ada.no("POST", "/v1/send_server_notice", {**body, **change}) == expected

    run(work)


def test_greetings() -> None:
    """docs/mapping.md 10.15"""

    async def work() -> None:
        async with matrix() as server:
            ada = await admin_of(server)
            for which in ("motd", "welcome"):
                path = f"/v1/greetings/{which}"
                assert await ada.done("GET", path) == {"text": None}
                assert await ada.done("PUT", path, {"text": " Two  \nlines\n"}) == {"text": "Two\nlines"}
                assert await ada.done("GET", path) == {"text": "Two\nlines"}
                assert await ada.no("PUT", path, {"text": "x\n" * 61}) == (400, "M_INVALID_PARAM")
                assert await ada.no("PUT", path, {}) == (400, "M_MISSING_PARAM")
            bob = await server.register("bob")
            assert len((await bob.sync())["rooms"]["invite"]) == 1
            assert await ada.done("PUT", "/v1/greetings/welcome", {"text": ""}) == {"text": ""}
            carol = await server.register("carol")
            assert "invite" not in (await carol.sync()).get("rooms", {})
            assert await ada.done("DELETE", "/v1/greetings/motd") == {"text": None}
            assert await ada.no("GET", "/v1/greetings/goodbye") == (404, "M_NOT_FOUND")

    run(work)
