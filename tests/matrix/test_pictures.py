"""What clients keep on the server about pictures and emoji: packs in rooms, which packs somebody uses, recent emoji.

spec: Matrix client-server-api modules image-packs, recent-emoji, stickers; GET /.well-known/matrix/policy_server
"""

import orjson

from tests.matrix.client import matrix, q
from tests.support.middle import run

PACK = {
    "images": {
        "cat_wave": {
            "url": "mxc://example.org/abc123",
            "body": "a waving cat",
            "info": {"mimetype": "image/png", "w": 512, "h": 512, "size": 84400},
        },
        # "Clients SHOULD render emotes and stickers that have malformed shortcodes": nothing is taken out.
        "cat:nap": {"url": "mxc://example.org/def456", "org.example.more": [1]},
    },
    "pack": {"display_name": "Cats", "usage": ["emoticon"], "attribution": "drawn by @alice:example.org"},
}
STICKER = {"body": "a waving cat", "url": "mxc://example.org/abc123", "info": {}}


def test_packs_and_stickers_pass_as_they_are() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room_id = await alice.create(preset="public_chat")
            await bob.join(room_id)
            room = f"/rooms/{q(room_id)}"
            for key in ("", "cats"):
                await alice.call("PUT", f"{room}/state/m.room.image_pack/{key}", PACK)
            await alice.call("PUT", f"{room}/send/m.sticker/1", STICKER)
            chunk = (await bob.sync())["rooms"]["join"][room_id]
            events = [*chunk["state"]["events"], *chunk["timeline"]["events"]]
            packs = {e["state_key"]: e["content"] for e in events if e["type"] == "m.room.image_pack"}
            assert packs == {"": PACK, "cats": PACK}
            assert [e["content"] for e in events if e["type"] == "m.sticker"] == [STICKER]
            # Whoever may not set state sets no pack.
            assert await bob.refused("PUT", f"{room}/state/m.room.image_pack/", PACK) == (403, "M_FORBIDDEN")

    run(work)


def test_what_one_uses_is_on_all_devices() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            kept = {
                "m.image_pack.rooms": {"rooms": {"!someroom:example.org": {"": {}, "sticker_pack": {}}}},
                # "clients MUST tolerate and preserve array elements": so does the server.
                "m.recent_emoji": {"recent_emoji": [{"emoji": "🤔", "total": 19}, {"org.example.own": "x"}]},
            }
            for type_, content in kept.items():
                path = f"/user/{q(alice.user_id)}/account_data/{type_}"
                await alice.call("PUT", path, content)
                assert await alice.call("GET", path) == content
            events = (await alice.sync())["account_data"]["events"]
            assert {e["type"]: e["content"] for e in events if e["type"] in kept} == kept

    run(work)


def test_this_server_is_no_policy_server() -> None:
    """spec: GET /.well-known/matrix/policy_server: "404: No policy server information available" """

    async def work() -> None:
        async with matrix() as server:
            answer = await server.request("GET", "/.well-known/matrix/policy_server")
            assert answer.status == 404 and orjson.loads(answer.body)["errcode"] == "M_UNRECOGNIZED"

    run(work)
