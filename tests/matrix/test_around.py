"""What is around the server: what carries calls of many, and the networks that bridges reach.

spec: MSC4143 "Discovery of RTC transports", MSC4158; Matrix client-server module third-party-networks
"""

import orjson

from tests.matrix.client import matrix
from tests.support.middle import run

RTC = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"


def test_what_carries_calls_of_many() -> None:
    async def work() -> None:
        urls = ("https://rtc.example.org", "https://backup.example.org/jwt")
        async with matrix(livekit=urls) as server:
            alice = await server.register("alice")
            wanted = [{"type": "livekit", "livekit_service_url": url} for url in urls]
            response = await server.request("GET", RTC, token=alice.token)
            assert orjson.loads(response.body) == {"rtc_transports": wanted}
            assert (await server.request("GET", RTC)).status == 401
            response = await server.request("GET", "/.well-known/matrix/client")
            assert orjson.loads(response.body)["org.matrix.msc4143.rtc_foci"] == wanted

    run(work)


def test_where_there_is_nothing() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            response = await server.request("GET", RTC, token=alice.token)
            assert orjson.loads(response.body) == {"rtc_transports": []}
            response = await server.request("GET", "/.well-known/matrix/client")
            assert "org.matrix.msc4143.rtc_foci" not in orjson.loads(response.body)
            assert await alice.call("GET", "/thirdparty/protocols") == {}
            for path in ("/thirdparty/location", "/thirdparty/user"):
                assert await alice.call("GET", path, alias="#tea:example.org", userid="@a:example.org") == []
            for what in ("protocol", "location", "user"):
                assert await alice.refused("GET", f"/thirdparty/{what}/irc") == (404, "M_NOT_FOUND")

    run(work)
