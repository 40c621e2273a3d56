"""Networks that services reach: what clients look up there, and their directories of rooms.

spec: Matrix client-server module third-party-networks; application-service-api "Published room directories"
"""

from pathlib import Path
from typing import Any

import orjson

from tests.matrix.appservice.test_identity import ask
from tests.matrix.client import matrix, q
from tests.support.app_service import URL, Asked, Service, registered
from tests.support.middle import run
from tripoint.core.errors import RemoteFailed

PROTOCOL: dict[str, Any] = {
    "user_fields": ["network", "nickname"],
    "location_fields": ["network", "channel"],
    "icon": "mxc://example.org/aBcDeFgH",
    "field_types": {"network": {"regexp": ".*", "placeholder": "irc.example.org"}},
    "instances": [{"desc": "Libera", "fields": {"network": "libera"}, "network_id": "libera"}],
}
BOB = {"userid": "@_irc_bob:example.org", "protocol": "irc", "fields": {"nickname": "bob"}}
TEA = {"alias": "#irc_tea:example.org", "protocol": "irc", "fields": {"channel": "#tea"}}
SECOND = {
    "id": "other",
    "url": "http://other.example",
    "as_token": "other-token",
    "sender_localpart": "otherbot",
    "namespaces": {},
    "protocols": ["irc", "smoke"],
}


class Two:
    """Two services that reach IRC; the second one smoke signals, too."""

    def __init__(self) -> None:
        self.first, self.second = Service(), Service("http://other.example")
        self.first.answer, self.second.answer = self.of_first, self.of_second

    async def ask(self, method: str, url: str, body: bytes = b"", **named: Any) -> Any:
        service = self.first if url.startswith(URL) else self.second
        return await service.ask(method, url, body, **named)

    async def of_first(self, asked: Asked) -> tuple[int, Any]:
        path, _, query = asked.path.partition("?")
        if path == "/_matrix/app/v1/thirdparty/protocol/irc":
            return 200, PROTOCOL
        if path == "/_matrix/app/v1/thirdparty/user/irc":
            return 200, [BOB, {"userid": 7}, "rubbish"] if query == "nickname=b+ob" else []
        if path == "/_matrix/app/v1/thirdparty/location/irc":
            return 200, [TEA]
        if path == "/_matrix/app/v1/thirdparty/location" and query == "alias=%23irc_tea%3Aexample.org":
            return 200, [TEA]
        if path == "/_matrix/app/v1/thirdparty/user" and query == "userid=%40_irc_bob%3Aexample.org":
            return 200, [BOB]
        return 404, {}

    async def of_second(self, asked: Asked) -> tuple[int, Any]:
        path = asked.path.partition("?")[0]
        if path == "/_matrix/app/v1/thirdparty/protocol/irc":
            return 200, {**PROTOCOL, "instances": [{"desc": "Home", "fields": {}, "network_id": "home"}]}
        if path == "/_matrix/app/v1/thirdparty/protocol/smoke":
            return 200, {"nothing": "of use"}
        if path == "/_matrix/app/v1/thirdparty/location/irc":
            raise RemoteFailed("other.example", "it is not there")
        if path == "/_matrix/app/v1/thirdparty/location":
            return 200, b"no JSON"
        return 404, {}


def test_lookups_ask_every_service_that_has_the_protocol(tmp_path: Path) -> None:
    async def work() -> None:
        two = Two()
        config = registered(tmp_path, SECOND, url=URL, protocols=["irc"])
        async with matrix(config, ask=two.ask) as server:
            alice = await server.register("alice")
            irc = await alice.call("GET", "/thirdparty/protocol/irc")
            assert [(one["network_id"], one["instance_id"]) for one in irc["instances"]] == [
                ("libera", "irc|libera"),
                ("home", "other|home"),
            ]
            assert irc["user_fields"] == ["network", "nickname"]
            # What cannot be used is not there; what is known is not asked for again.
            assert await alice.call("GET", "/thirdparty/protocols") == {"irc": irc}
            asked = len(two.first.asked)
            assert await alice.call("GET", "/thirdparty/protocols") == {"irc": irc}
            assert len(two.first.asked) == asked
            assert await alice.refused("GET", "/thirdparty/protocol/smoke") == (404, "M_NOT_FOUND")
            # Fields go along; what is for this server does not.
            assert await alice.call("GET", "/thirdparty/user/irc", nickname="b ob") == [BOB]
            assert await alice.call("GET", "/thirdparty/user/irc", nickname="nobody") == []
            assert await alice.call("GET", "/thirdparty/location/irc", channel="#tea") == [TEA]
            assert await alice.call("GET", "/thirdparty/location", alias="#irc_tea:example.org") == [TEA]
            assert await alice.call("GET", "/thirdparty/user", userid="@_irc_bob:example.org") == [BOB]
            assert await alice.call("GET", "/thirdparty/user", userid="@alice:example.org") == []
            for what in ("location", "user"):
                assert await alice.refused("GET", f"/thirdparty/{what}/telegram") == (404, "M_NOT_FOUND")
                assert await alice.refused("GET", f"/thirdparty/{what}") == (400, "M_MISSING_PARAM")
            too_many = {f"f{number}": "x" for number in range(21)}
            assert await alice.refused("GET", "/thirdparty/user/irc", **too_many) == (400, "M_INVALID_PARAM")

    run(work)


def test_directories_of_networks(tmp_path: Path) -> None:
    async def work() -> None:
        two = Two()
        config = registered(tmp_path, SECOND, url=URL, protocols=["irc"])
        async with matrix(config, ask=two.ask) as server:
            alice = await server.register("alice")
            own = await alice.create(preset="public_chat", visibility="public", name="Own")
            tea = await alice.create(preset="public_chat", name="Tea")
            path = f"/directory/list/appservice/libera/{q(tea)}"
            await ask(server, "PUT", path, {"visibility": "public"})
            home = f"/directory/list/appservice/home/{q(own)}"
            await ask(server, "PUT", home, {"visibility": "public"}, token="other-token")

            async def listed(**wanted: Any) -> set[str]:
                found = await alice.call("POST", "/publicRooms", wanted)
                assert found["total_room_count_estimate"] == len(found["chunk"])
                return {room["name"] for room in found["chunk"]}

            assert await listed() == {"Own"}
            assert await listed(include_all_networks=True) == {"Own", "Tea"}
            assert await listed(third_party_instance_id="irc|libera") == {"Tea"}
            assert await listed(third_party_instance_id="other|home") == {"Own"}
            # The same network of another service is another one.
            assert await listed(third_party_instance_id="other|libera") == set()
            assert await listed(third_party_instance_id="irc|libera", filter={"generic_search_term": "own"}) == set()
            both = {"third_party_instance_id": "irc|libera", "include_all_networks": True}
            assert await alice.refused("POST", "/publicRooms", both) == (400, "M_INVALID_PARAM")
            assert await alice.refused("PUT", path, {"visibility": "public"}) == (403, "M_FORBIDDEN")
            for body, room_id, status, errcode in (
                ({"visibility": "maybe"}, tea, 400, "M_INVALID_PARAM"),
                ({"visibility": "public"}, "!none:example.org", 404, "M_NOT_FOUND"),
            ):
                other = f"/directory/list/appservice/libera/{q(room_id)}"
                assert (await ask(server, "PUT", other, body, status=status))["errcode"] == errcode
            await ask(server, "PUT", path, {"visibility": "private"})
            assert await listed(third_party_instance_id="irc|libera") == set()

    run(work)


def test_requests_of_services_carry_no_tokens_into_lookups(tmp_path: Path) -> None:
    async def work() -> None:
        two = Two()
        async with matrix(registered(tmp_path, url=URL, protocols=["irc"]), ask=two.ask) as server:
            path = "/_matrix/client/v3/thirdparty/user/irc"
            response = await server.request("GET", path, nickname="b ob", access_token="the-token-of-the-service")
            assert orjson.loads(response.body) == [BOB]

    run(work)
