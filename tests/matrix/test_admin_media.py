"""The administrators' API of files, and how long files are kept. docs/operate/administration.md"""

import pytest

from tests.matrix.admin import admin_of
from tests.matrix.client import Client, matrix, q
from tests.matrix.test_media import name_of, upload, with_media
from tests.support.middle import Clock, run
from tripoint.core.ids import ServerName
from tripoint.store.writes import PutMedia

DAY_MS = 86_400_000


async def status_of(client: Client, uri: str) -> int:
    path = f"/_matrix/client/v1/media/download/{name_of(uri)}"
    response = await client.server.request("GET", path, token=client.token)
    if response.pieces is not None:
        response.pieces.close()
    return response.status


async def post(client: Client, room: str, url: str, **content: object) -> None:
    body = {"msgtype": "m.image", "body": "x", "url": url, **content}
    sent = f"/rooms/{q(room)}/send/m.room.message/{q(url)}"
    await client.call("PUT", sent, body)


def remote(media_id: str, used_ts_ms: int) -> PutMedia:
    return PutMedia(ServerName("away.org"), media_id, "c" * 64, "image/png", None, 10, None, used_ts_ms, used_ts_ms)


def test_quarantine_and_protection() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, bob = await admin_of(server), await server.register("bob")
            room = await bob.create(preset="public_chat")
            files = [await upload(bob, bytes([number]) * 10, filename=f"{number}.png") for number in range(4)]
            thumbnail = {"info": {"thumbnail_url": files[1]}, "file": {"url": "mxc://away.org/abc"}}
            await post(bob, room, files[0], **thumbnail)
            await post(bob, room, "mxc://no slash")
            listed = await ada.done("GET", f"/v1/room/{q(room)}/media")
            assert (sorted(listed["local"]), listed["remote"]) == (sorted(files[:2]), ["mxc://away.org/abc"])
            one = name_of(files[0])
            await ada.done("POST", f"/v1/media/protect/{one.partition('/')[2]}")
            shown = (await ada.done("GET", f"/v1/media/{one}"))["media_info"]
            assert shown == {
                "media_origin": None,
                "user_id": bob.user_id,
                "media_id": one.partition("/")[2],
                "media_type": "image/png",
                "media_length": 10,
                "upload_name": "0.png",
                "created_ts": server.party.clock.ms(),
                "last_access_ts": server.party.clock.ms(),
                "quarantined_by": None,
                "safe_from_quarantine": True,
                "filesystem_id": None,
                "url_cache": None,
                "authenticated": True,
            }
            assert await ada.done("POST", f"/v1/room/{q(room)}/media/quarantine") == {"num_quarantined": 1}
            assert [await status_of(bob, uri) for uri in files] == [200, 404, 200, 200]
            assert await ada.done("POST", f"/v1/user/{bob.user_id}/media/quarantine") == {"num_quarantined": 2}
            assert [await status_of(bob, uri) for uri in files] == [200, 404, 404, 404]
            by = (await ada.done("GET", f"/v1/media/{name_of(files[2])}"))["media_info"]["quarantined_by"]
            assert by == ada.user_id
            await ada.done("POST", f"/v1/media/unquarantine/{name_of(files[2])}")
            assert await status_of(bob, files[2]) == 200
            await ada.done("POST", f"/v1/media/unprotect/{one.partition('/')[2]}")
            await ada.done("POST", f"/v1/media/quarantine/{one}")
            assert await status_of(bob, files[0]) == 404
            assert await ada.no("GET", "/v1/media/example.org/nothing") == (404, "M_NOT_FOUND")
            assert await ada.no("POST", "/v1/media/protect/nothing") == (404, "M_NOT_FOUND")
            assert await ada.no("GET", "/v1/media/example.org/a%2Fb") == (400, "M_INVALID_PARAM")

    run(work)


def test_deleting_files() -> None:
    async def work() -> None:
        async with matrix() as server:
            clock = server.party.clock
            ada, bob = await admin_of(server), await server.register("bob")
            files = []
            for number in range(5):
                clock.now += 1
                files.append(await upload(bob, bytes([number]) * (10 * (number + 1)), filename=f"{number}.png"))
            await bob.call("PUT", f"/profile/{bob.user_id}/avatar_url", {"avatar_url": files[4]})
            room = await bob.create(preset="public_chat")
            await bob.call("PUT", f"/rooms/{q(room)}/state/m.room.avatar", {"url": files[3]})
            page = await ada.done("GET", f"/v1/users/{bob.user_id}/media", limit="2")
            assert [one["upload_name"] for one in page["media"]] == ["4.png", "3.png"]
            assert (page["total"], page["next_token"]) == (5, 2)
            ordered = await ada.done("GET", f"/v1/users/{bob.user_id}/media", order_by="media_length", limit="1")
            assert [one["upload_name"] for one in ordered["media"]] == ["0.png"]
            use = await ada.done("GET", "/v1/statistics/users/media")
            assert use == {
                "users": [{"user_id": bob.user_id, "displayname": "bob", "media_count": 5, "media_length": 150}],
                "total": 1,
            }
            assert (await ada.done("GET", "/v1/statistics/users/media", search_term="ada"))["users"] == []
            early = await ada.done("GET", "/v1/statistics/users/media", until_ts=str(clock.ms() - 4000))
            assert early["users"][0]["media_count"] == 1
            name = name_of(files[0])
            assert await ada.done("DELETE", f"/v1/media/{name}") == {
                "deleted_media": [name.partition("/")[2]],
                "total": 1,
            }
            assert await ada.no("DELETE", f"/v1/media/{name}") == (404, "M_NOT_FOUND")
            assert await ada.no("DELETE", "/v1/media/away.org/abc") == (400, "M_INVALID_PARAM")
            now = str(clock.ms())
            gone = await ada.done("POST", "/v1/media/delete", before_ts=now, size_gt="20")
            assert gone["deleted_media"] == [name_of(files[2]).partition("/")[2]]
            assert [await status_of(bob, uri) for uri in files] == [404, 200, 404, 200, 200]
            gone = await ada.done("POST", "/v1/media/example.org/delete", before_ts=now, keep_profiles="false")
            assert gone["total"] == 2  # the last one was uploaded now, not before
            assert (await ada.done("DELETE", f"/v1/users/{bob.user_id}/media"))["total"] == 1
            for method, path, query, errcode in (
                ("POST", "/v1/media/delete", {}, "M_MISSING_PARAM"),
                ("POST", "/v1/media/delete", {"before_ts": str(clock.ms() + 5000)}, "M_INVALID_PARAM"),
                ("POST", "/v1/media/away.org/delete", {"before_ts": "1"}, "M_INVALID_PARAM"),
                ("POST", "/v1/purge_media_cache", {}, "M_MISSING_PARAM"),
                ("GET", "/v1/statistics/users/media", {"from_ts": "5", "until_ts": "4"}, "M_INVALID_PARAM"),
                ("GET", "/v1/statistics/users/media", {"search_term": ""}, "M_INVALID_PARAM"),
                ("GET", f"/v1/users/{bob.user_id}/media", {"order_by": "colour"}, "M_INVALID_PARAM"),
            ):
                assert await ada.no(method, path, **query) == (400, errcode), (path, query)

    run(work)


def test_purging_what_is_kept_of_others() -> None:
    async def work() -> None:
        async with matrix() as server:
            ada, clock = await admin_of(server), server.party.clock
            old, new = remote("old", clock.ms() - 2000), remote("new", clock.ms() - 500)
            await server.party.middle.stream.commit([old, new])
            found = await ada.done("POST", "/v1/purge_media_cache", before_ts=str(clock.ms() - 1000))
            assert found == {"deleted": 1}
            assert await server.party.middle.store.load_media(old.server, "old") is None
            assert await server.party.middle.store.load_media(new.server, "new") is not None

    run(work)


@pytest.mark.parametrize(("local_s", "remote_s"), [(3 * 86_400, 0), (0, 3 * 86_400), (0, 0)])
def test_how_long_files_are_kept(local_s: int, remote_s: int) -> None:
    """A file that somebody asks for now and then stays, and so do pictures, and what is protected or quarantined."""

    async def work() -> None:
        clock = Clock()
        async with matrix(with_media(local_life_s=local_s, remote_life_s=remote_s), clock=clock) as server:
            ada, bob = await admin_of(server), await server.register("bob")
            names = ("forgotten", "asked for", "picture", "protected", "quarantined")
            files = {name: await upload(bob, name.encode()) for name in names}
            await bob.call("PUT", f"/profile/{bob.user_id}/avatar_url", {"avatar_url": files["picture"]})
            await ada.done("POST", f"/v1/media/protect/{name_of(files['protected']).partition('/')[2]}")
            await ada.done("POST", f"/v1/media/quarantine/{name_of(files['quarantined'])}")
            await server.party.middle.stream.commit([remote("cached", clock.ms())])
            clock.now += 2 * 86_400
            assert await status_of(bob, files["asked for"]) == 200
            clock.now += 2 * 86_400
            await server.media.library.sweep()
            assert await status_of(bob, files["forgotten"]) == (404 if local_s else 200)
            assert [await status_of(bob, files[name]) for name in names[1:4]] == [200, 200, 200]
            assert (await ada.done("GET", f"/v1/media/{name_of(files['quarantined'])}"))["media_info"]
            left = await server.party.middle.store.load_media(ServerName("away.org"), "cached")
            assert (left is None) == bool(remote_s)

    run(work)
