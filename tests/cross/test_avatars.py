"""Pictures of people and rooms on the three protocols, in memory and over sockets.

spec: docs/mapping.md 8.12, 12.2, 17.1, 17.2; XEP-0084 3, XEP-0153 3, XEP-0398 3, 4, XEP-0486 3; IRCv3 metadata
"""

import asyncio
import base64
import hashlib
import io
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from tests.cross.world import ROOMS, Person, World, world

ALIAS = "#tea:example.org"
CAPS = "http://jabber.org/protocol/caps"
PUBSUB = "http://jabber.org/protocol/pubsub"


def picture(width: int = 48, height: int = 48, colour: tuple[int, int, int] = (10, 120, 30)) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(made, "PNG")
    return made.getvalue()


def noise(side: int) -> bytes:
    """A picture that is large in bytes too."""
    made = io.BytesIO()
    Image.effect_noise((side, side), 90).save(made, "PNG")
    return made.getvalue()


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


class Table:
    """ann on IRC, bob on XMPP, cleo on all three, in #tea; bob sees cleo's presence."""

    def __init__(self, at: World, people: dict[str, Any]) -> None:
        self.at = at
        self.people = people
        self._asked = 0

    def __getattr__(self, name: str) -> Any:
        return self.people[name]

    async def matrix(self, request: str) -> Any:
        await self.cleo_matrix.send(request)
        status, answer = self.cleo_matrix.answer
        assert status == 200, answer
        return answer

    async def upload(self, data: bytes) -> str:
        headers = {"authorization": f"Bearer {self.cleo_matrix._token}", "content-type": "image/png"}
        status, _, body = await self.at.web("POST", "/_matrix/media/v3/upload?filename=a.png", data, headers)
        assert status == 200, body
        uri: str = orjson.loads(body)["content_uri"]
        return uri

    async def download(self, mxc: str) -> bytes:
        headers = {"authorization": f"Bearer {self.cleo_matrix._token}"}
        path = f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}"
        status, _, body = await self.at.web("GET", path, headers=headers)
        assert status == 200
        return bytes(body)

    async def ask(self, person: Person, kind: str, inside: str, to: str = "") -> str:
        """An IQ and its answer, whatever else comes before it."""
        self._asked += 1
        address = f" to='{to}'" if to else ""
        await person.send(f"<iq type='{kind}' id='q{self._asked}'{address}>{inside}</iq>")
        return await self.heard(person, rf"<iq type='(?:result|error)' id='q{self._asked}'")

    async def heard(self, person: Person, pattern: str) -> str:
        """The next thing in which a pattern is found, whatever comes before it."""
        while True:
            got = await person.next()
            if re.search(pattern, got):
                return got

    async def publish(self, person: Person, node: str, item_id: str, payload: str) -> str:
        inside = f"<publish node='{node}'><item id='{item_id}'>{payload}</item></publish>"
        return await self.ask(person, "set", f"<pubsub xmlns='{PUBSUB}'>{inside}</pubsub>")


def data_xml(data: bytes) -> str:
    return f"<data xmlns='urn:xmpp:avatar:data'>{base64.b64encode(data).decode()}</data>"


def metadata_xml(data: bytes) -> str:
    info = f"<info bytes='{len(data)}' id='{sha1(data)}' type='image/png' width='48' height='48'/>"
    return f"<metadata xmlns='urn:xmpp:avatar:metadata'>{info}</metadata>"


@pytest.fixture(params=[False, True], ids=["memory", "sockets"])
def at_table(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Table], Awaitable[None]]], None]:
    async def work(test: Callable[[Table], Awaitable[None]]) -> None:
        async with world(tmp_path / "data", sockets=request.param) as at:
            ann = await at.person("ann", "irc", "account", ["draft/metadata-2", "batch", "standard-replies"])
            cleo_irc = await at.person("cleo", "irc", "account", ["draft/metadata-2", "batch", "standard-replies"])
            cleo_matrix = await at.person("cleo", "matrix", "account", [])
            cleo = await at.person("cleo", "xmpp", "account", [])
            bob = await at.person("bob", "xmpp", "account", ["silent"])
            table = Table(
                at, {"ann": ann, "bob": bob, "cleo": cleo, "cleo_irc": cleo_irc, "cleo_matrix": cleo_matrix}
            )
            await cleo_irc.send("JOIN #tea")
            await ann.send("JOIN #tea")
            await ann.pending()
            await ann.send("METADATA * SUB avatar")
            await cleo.send("<presence type='subscribed' to='bob@example.org'/>")
            await bob.send("<presence type='subscribe' to='cleo@example.org'/>")
            await bob.send(f"<presence><c xmlns='{CAPS}' hash='x' node='n' ver='v'/></presence>")
            await table.heard(bob, "caps-1")
            features = "<feature var='urn:xmpp:avatar:metadata+notify'/>"
            await bob.send(
                "<iq type='result' id='caps-1' to='bob@example.org'>"
                f"<query xmlns='http://jabber.org/protocol/disco#info'>{features}</query></iq>"
            )
            await bob.send(f"<presence to='tea@{ROOMS}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            await cleo.send(f"<presence to='tea@{ROOMS}/cleo'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            for person in (ann, cleo_irc, bob, cleo):
                await person.pending()
            await test(table)

    def runner(test: Callable[[Table], Awaitable[None]]) -> None:
        asyncio.run(asyncio.wait_for(work(test), 60))

    return runner


AtTable = Callable[[Callable[[Table], Awaitable[None]]], None]


# rows: 17.1
def test_17_1_an_avatar_from_matrix(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        data = picture()
        mxc = await t.upload(data)
        await t.matrix(f'PUT /profile/<@cleo:example.org>/avatar_url {{"avatar_url": "{mxc}"}}')
        # contacts are told, and see it in presence, in rooms too
        heard = [await t.heard(t.bob, f"{sha1(data)}") for _ in range(3)]
        assert any(f"<info bytes='{len(data)}' id='{sha1(data)}' type='image/png'/>" in got for got in heard)
        photo = f"<x xmlns='vcard-temp:x:update'><photo>{sha1(data)}</photo></x>"
        assert any(got.startswith("<presence from='cleo@example.org/desk'") and photo in got for got in heard)
        assert any(got.startswith(f"<presence from='tea@{ROOMS}/cleo'") and photo in got for got in heard)
        # and fetch it, in either form
        items = f"<items node='urn:xmpp:avatar:data'><item id='{sha1(data)}'/></items>"
        got = await t.ask(t.bob, "get", f"<pubsub xmlns='{PUBSUB}'>{items}</pubsub>", "cleo@example.org")
        assert data_xml(data) in got
        got = await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", "cleo@example.org")
        binval = f"<BINVAL>{base64.b64encode(data).decode()}</BINVAL>"
        assert f"<PHOTO><TYPE>image/png</TYPE>{binval}</PHOTO>" in got
        # on IRC it is an address that leads to the picture as long as it is the avatar
        line = await t.heard(t.ann, "METADATA cleo avatar")
        url = line.rpartition(" ")[2]
        status, _, body = await t.at.web("GET", url)
        assert status == 200 and body == data
        await t.matrix("DELETE /profile/<@cleo:example.org>/avatar_url")
        assert (await t.heard(t.ann, "METADATA cleo avatar")).endswith("avatar * :")
        assert (await t.at.web("GET", url))[0] == 404
        heard = [await t.heard(t.bob, "avatar:metadata|vcard-temp:x:update") for _ in range(3)]
        assert any("<metadata xmlns='urn:xmpp:avatar:metadata'/>" in got for got in heard)
        assert sum("<x xmlns='vcard-temp:x:update'><photo/></x>" in got for got in heard) == 2

    at_table(test)


def test_17_1_an_avatar_from_xmpp(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        data = picture(colour=(200, 1, 1))
        got = await t.publish(t.cleo, "urn:xmpp:avatar:metadata", sha1(data), metadata_xml(data))
        assert "<item-not-found" in got, "its data has not come"
        got = await t.publish(t.cleo, "urn:xmpp:avatar:data", sha1(b"other"), data_xml(data))
        assert "<not-acceptable" in got
        assert "type='result'" in await t.publish(t.cleo, "urn:xmpp:avatar:data", sha1(data), data_xml(data))
        got = await t.publish(t.cleo, "urn:xmpp:avatar:metadata", sha1(data), metadata_xml(data))
        assert f"<item id='{sha1(data)}'/>" in got
        await t.heard(t.bob, f"<info [^>]*id='{sha1(data)}'")
        profile = await t.matrix("GET /profile/<@cleo:example.org>")
        assert await t.download(profile["avatar_url"]) == data
        member = await t.matrix(f"GET /rooms/{{{ALIAS}}}/state/m.room.member/<@cleo:example.org>")
        assert member["avatar_url"] == profile["avatar_url"]
        await t.heard(t.ann, "METADATA cleo avatar")
        # the same again changes nothing; without a picture there is none
        await t.publish(t.cleo, "urn:xmpp:avatar:data", sha1(data), data_xml(data))
        await t.publish(t.cleo, "urn:xmpp:avatar:metadata", sha1(data), metadata_xml(data))
        assert (await t.matrix("GET /profile/<@cleo:example.org>")) == profile
        await t.publish(t.cleo, "urn:xmpp:avatar:metadata", "x", "<metadata xmlns='urn:xmpp:avatar:metadata'/>")
        assert "avatar_url" not in await t.matrix("GET /profile/<@cleo:example.org>")
        # in the older form
        photo = f"<PHOTO><TYPE>image/gif</TYPE><BINVAL>{base64.b64encode(data).decode()}</BINVAL></PHOTO>"
        await t.ask(t.cleo, "set", f"<vCard xmlns='vcard-temp'><FN>Cleo</FN>{photo}</vCard>")
        profile = await t.matrix("GET /profile/<@cleo:example.org>")
        assert profile["displayname"] == "Cleo" and await t.download(profile["avatar_url"]) == data
        got = await t.ask(t.cleo, "set", "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>@</BINVAL></PHOTO></vCard>")
        assert "<bad-request" in got
        text = base64.b64encode(b"<svg/>").decode()
        got = await t.ask(t.cleo, "set", f"<vCard xmlns='vcard-temp'><PHOTO><BINVAL>{text}</BINVAL></PHOTO></vCard>")
        assert "<not-acceptable" in got

    at_table(test)


def test_17_1_large_pictures_become_small_ones(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        mxc = await t.upload(noise(500))
        await t.matrix(f'PUT /profile/<@cleo:example.org>/avatar_url {{"avatar_url": "{mxc}"}}')
        got = await t.heard(t.bob, "<info ")
        info = r"<info bytes='(\d+)' id='([0-9a-f]{40})' type='image/(?:png|jpeg)' width='96' height='96'/>"
        found = re.search(info, got)
        assert found is not None and int(found.group(1)) < 96 * 1024
        items = "<items node='urn:xmpp:avatar:data'/>"
        got = await t.ask(t.bob, "get", f"<pubsub xmlns='{PUBSUB}'>{items}</pubsub>", "cleo@example.org")
        text = re.search(r"<data [^>]*>([^<]*)</data>", got)
        assert text is not None
        small = base64.b64decode(text.group(1))
        assert sha1(small) == found.group(2) and Image.open(io.BytesIO(small)).size == (96, 96)

    at_table(test)


def test_17_1_an_avatar_from_irc(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        data = picture(colour=(1, 1, 200))
        headers = {"authorization": "Basic " + base64.b64encode(b"cleo:correct horse").decode()}
        headers["content-type"] = "image/png"
        status, answered, _ = await t.at.web("POST", "/upload", data, headers)
        assert status == 201
        address = dict(answered)["location"]
        await t.cleo_irc.send(f"METADATA * SET avatar {address}")
        line = await t.heard(t.cleo_irc, " 761 cleo cleo avatar ")
        assert line.rpartition(":http")[2] != address.partition("http")[2]
        profile = await t.matrix("GET /profile/<@cleo:example.org>")
        assert await t.download(profile["avatar_url"]) == data
        await t.heard(t.bob, f"<info [^>]*id='{sha1(data)}'")
        await t.cleo_irc.send("METADATA * SET avatar http://elsewhere.example/x.png")
        await t.heard(t.cleo_irc, "FAIL METADATA VALUE_INVALID")

    at_table(test)


# rows: 17.2
def test_17_2_the_picture_of_an_occupant(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        data = picture(colour=(9, 9, 9))
        mxc = await t.upload(data)
        content = orjson.dumps({"membership": "join", "displayname": "Cleo here", "avatar_url": mxc}).decode()
        await t.matrix(f"PUT /rooms/{{{ALIAS}}}/state/m.room.member/<@cleo:example.org> {content}")
        await t.heard(t.bob, f"tea@{ROOMS}/Cleo here")
        got = await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", f"tea@{ROOMS}/Cleo here")
        assert "<FN>Cleo here</FN>" in got and base64.b64encode(data).decode() in got
        assert "PHOTO" not in await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", "cleo@example.org")
        got = await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", f"tea@{ROOMS}/nobody")
        assert "<item-not-found" in got

    at_table(test)


def test_17_1_who_is_in_a_room_by_other_protocols(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        ann = await t.at.person("ann", "matrix", "account", [])
        data, mxc = picture(), await t.upload(picture())
        await ann.send(f'PUT /profile/<@ann:example.org>/avatar_url {{"avatar_url": "{mxc}"}}')
        photo = f"<x xmlns='vcard-temp:x:update'><photo>{sha1(data)}</photo></x>"
        await t.heard(t.bob, f"^<presence from='tea@{ROOMS}/ann'.*{photo}")
        # who comes later sees it at once
        dora = await t.at.person("dora", "xmpp", "account", [])
        await dora.send(f"<presence to='tea@{ROOMS}/dora'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        assert photo in await t.heard(dora, f"^<presence from='tea@{ROOMS}/ann'")

    at_table(test)


# rows: 8.12
def test_8_12_the_picture_of_a_room(at_table: AtTable) -> None:
    async def test(t: Table) -> None:
        data = picture(colour=(50, 60, 70))
        room = f"tea@{ROOMS}"
        card = f"<PHOTO><TYPE>image/png</TYPE><BINVAL>{base64.b64encode(data).decode()}</BINVAL></PHOTO>"
        disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        got = await t.ask(t.bob, "set", f"<vCard xmlns='vcard-temp'>{card}</vCard>", room)
        assert "<forbidden" in got, "whoever may not set it"
        assert "avatarhash" not in await t.ask(t.bob, "get", disco, room)
        # from XMPP
        got = await t.ask(t.cleo, "set", f"<vCard xmlns='vcard-temp'>{card}</vCard>", room)
        assert "type='result'" in got
        await t.heard(t.bob, "<status code='104'/>")
        state = await t.matrix(f"GET /rooms/{{{ALIAS}}}/state/m.room.avatar/")
        assert await t.download(state["url"]) == data and state["info"] == {"mimetype": "image/png", "size": len(data)}
        line = await t.heard(t.ann, "METADATA #tea avatar")
        status, _, body = await t.at.web("GET", line.rpartition(" ")[2])
        assert status == 200 and body == data
        got = await t.ask(t.bob, "get", disco, room)
        assert f"<field var='muc#roominfo_avatarhash'><value>{sha1(data)}</value></field>" in got
        assert "<feature var='vcard-temp'/>" in got
        assert card in await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", room)
        # from Matrix
        other = picture(colour=(70, 60, 50))
        mxc = await t.upload(other)
        await t.matrix(f'PUT /rooms/{{{ALIAS}}}/state/m.room.avatar/ {{"url": "{mxc}"}}')
        await t.heard(t.bob, "<status code='104'/>")
        assert sha1(other) in await t.ask(t.bob, "get", disco, room)
        # taken away
        await t.ask(t.cleo, "set", "<vCard xmlns='vcard-temp'/>", room)
        await t.heard(t.bob, "<status code='104'/>")
        assert "avatarhash" not in await t.ask(t.bob, "get", disco, room)
        got = await t.ask(t.bob, "get", "<vCard xmlns='vcard-temp'/>", room)
        assert got.endswith("<vCard xmlns='vcard-temp'/></iq>")
        await t.heard(t.ann, r"METADATA #tea avatar \* :$")

    at_table(test)
