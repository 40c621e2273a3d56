"""Files between the three protocols: every row of the mapping's section 12, in memory and over sockets.

spec: docs/mapping.md 12, 27.2, 27.7
"""

import asyncio
import base64
import hashlib
import io
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from PIL import Image

from tests.cross.world import PASSWORD, ROOMS, Person, World, world
from tests.support.media import ORIGIN
from tripoint.core.mxc import parse_mxc

JOIN = f"<presence to='tea@{ROOMS}/NICK'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
ALIAS = "#tea:example.org"
URL = rf"{ORIGIN}/m/[A-Za-z0-9_-]{{22}}/[A-Za-z0-9._%-]+"


class Tea:
    """A room with one person on each protocol."""

    def __init__(self, at: World, irc: Person, xmpp: Person, matrix: Person) -> None:
        self.at = at
        self.irc = irc
        self.xmpp = xmpp
        self.matrix: Any = matrix

    async def upload(self, data: bytes, kind: str, name: str) -> str:
        """By Matrix; the mxc name."""
        headers = {"authorization": f"Bearer {self.matrix._token}", "content-type": kind}
        status, _, body = await self.at.web("POST", f"/_matrix/media/v3/upload?filename={name}", data, headers)
        assert status == 200, body
        uri: str = orjson.loads(body)["content_uri"]
        return uri

    async def say(self, content: dict[str, Any]) -> str:
        """By Matrix; the event id. What it looks like to the sender is taken from the queue."""
        await self.matrix.send(f"say {ALIAS} {orjson.dumps(content).decode()}")
        status, answer = self.matrix.answer
        assert status == 200, answer
        await self.matrix.next()
        event_id: str = answer["event_id"]
        return event_id

    async def event(self) -> dict[str, Any]:
        """What Matrix hears next."""
        event: dict[str, Any] = orjson.loads(await self.matrix.next())
        return event

    async def get(self, url: str, **headers: str) -> tuple[int, bytes]:
        status, _, body = await self.at.web("GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return status, body


def picture(width: int = 30, height: int = 20) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), (10, 120, 30)).save(made, "PNG")
    return made.getvalue()


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture(params=[False, True], ids=["memory", "sockets"])
def at_tea(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Tea], Awaitable[None]]], None]:
    """Run a test on a server with ann (IRC), bob (XMPP) and cleo (Matrix) in #tea."""

    async def work(test: Callable[[Tea], Awaitable[None]]) -> None:
        async with world(tmp_path / "data", sockets=request.param) as at:
            ann = await at.person("ann", "irc", "account", ["message-tags", "echo-message"])
            await ann.send("JOIN #tea")
            bob = await at.person("bob", "xmpp", "account", [])
            await bob.send(JOIN.replace("NICK", "bob"))
            await bob.pending()
            cleo = await at.person("cleo", "matrix", "account", [])
            await cleo.send(f"POST /join/<{ALIAS}> {{}}")
            for person in (ann, bob, cleo):
                await person.pending()
            await test(Tea(at, ann, bob, cleo))

    def runner(test: Callable[[Tea], Awaitable[None]]) -> None:
        asyncio.run(asyncio.wait_for(work(test), 60))

    return runner


AtTea = Callable[[Callable[[Tea], Awaitable[None]]], None]


def url_in(text: str) -> str:
    found = re.search(URL, text)
    assert found is not None, text
    return found.group()


def image(uri: str, **more: Any) -> dict[str, Any]:
    info = {"mimetype": "image/png", "size": 1_363_149, "w": 30, "h": 20}
    return {"msgtype": "m.image", "body": "tea.png", "url": uri, "info": info, **more}


def test_12_1_a_file_from_matrix(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        data = picture()
        event_id = await tea.say(image(await tea.upload(data, "image/png", "tea.png")))
        line, stanza = await tea.irc.next(), await tea.xmpp.next()
        url = url_in(line)
        assert line.endswith(f" PRIVMSG #tea :tea.png (image/png, 1.3 MiB) {url}")
        assert url.endswith("/tea.png")
        assert f"<body>{url}</body>" in stanza, "most clients know a file by a body that is its address alone"
        assert f"<x xmlns='jabber:x:oob'><url>{url}</url></x>" in stanza
        assert "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>" in stanza
        facts = "<media-type>image/png</media-type><name>tea.png</name><size>1363149</size><width>30</width>"
        assert facts + "<height>20</height>" in stanza
        assert f"<url-data xmlns='http://jabber.org/protocol/url-data' target='{url}'/>" in stanza
        assert "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'><body/></fallback>" in stanza
        assert f"id='{event_id}'/>" in stanza
        assert await tea.get(url) == (200, data)

    at_tea(test)


def test_12_1_a_caption_comes_behind_its_file(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        uri = await tea.upload(picture(), "image/png", "tea.png")
        html = {"format": "org.matrix.custom.html", "formatted_body": "<b>hot</b>\nor not"}
        event_id = await tea.say(image(uri, filename="tea.png", **html) | {"body": "hot\nor not"})
        assert "tea.png (image/png, 1.3 MiB) https" in await tea.irc.next()
        assert (await tea.irc.next()).endswith("PRIVMSG #tea :\x02hot\x0f or not")
        file, caption = await tea.xmpp.next(), await tea.xmpp.next()
        assert f"<body>{url_in(file)}</body>" in file and f"id='{event_id}'" in file
        assert "<body>*hot* or not</body>" in caption
        assert "stanza-id" not in caption and f"id='{event_id}-caption'" in caption
        # In the archive an event is one message, so the two are one there.
        await tea.xmpp.send(f"<iq type='set' id='m1' to='tea@{ROOMS}'><query xmlns='urn:xmpp:mam:2'/></iq>")
        archived = [text for text in await tea.xmpp.pending() if "tea.png" in text]
        assert len(archived) == 1
        assert f"<body>*hot* or not\n{url_in(file)}</body>" in archived[0]
        start, end = len("*hot* or not\n"), len(f"*hot* or not\n{url_in(file)}")
        assert f"<body start='{start}' end='{end}'/>" in archived[0]

    at_tea(test)


def test_12_2_what_an_address_answers(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        data = picture()
        await tea.say(image(await tea.upload(data, "image/png", "tea.png")))
        url = url_in(await tea.irc.next())
        status, headers, body = await tea.at.web("GET", url)
        assert (status, body) == (200, data)
        assert headers["content-type"] == "image/png"
        assert headers["content-disposition"] == 'inline; filename="tea.png"'
        assert headers["content-security-policy"].startswith("sandbox;")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-robots-tag"].startswith("noindex")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "private, no-cache"
        assert await tea.get(url, range="bytes=1-3") == (206, data[1:4])
        assert (await tea.get(url, if_none_match=headers["etag"]))[0] == 304
        # Whatever the last part is, the address is the same; another key is none.
        assert (await tea.get(re.sub("tea.png$", "other", url)))[0] == 200
        assert (await tea.get(re.sub("/m/.", "/m/" + ("b" if "/m/a" in url else "a"), url)))[0] == 404
        assert (await tea.at.web("POST", url, b"x"))[0] == 405
        # Without a token the file has no other address.
        mxc = (await tea.upload(data, "image/png", "tea.png")).removeprefix("mxc://")
        assert (await tea.get(f"/_matrix/client/v1/media/download/{mxc}"))[0] == 401
        assert (await tea.get(f"/_matrix/media/v3/download/{mxc}"))[0] == 404

    at_tea(test)


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml"])
def test_12_2_what_browsers_would_run_is_not_shown_in_place(at_tea: AtTea, kind: str) -> None:
    async def test(tea: Tea) -> None:
        uri = await tea.upload(b"<svg onload='x()'/>", kind, "x.svg")
        await tea.say({"msgtype": "m.file", "body": "x.svg", "url": uri, "info": {"mimetype": "image/png"}})
        _, headers, _ = await tea.at.web("GET", url_in(await tea.irc.next()))
        assert headers["content-type"] == kind
        assert headers["content-disposition"].startswith("attachment")

    at_tea(test)


def test_12_2_and_27_7_a_redaction_takes_the_address_away_at_once(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        uri = await tea.upload(picture(), "image/png", "tea.png")
        first, again = await tea.say(image(uri)), await tea.say(image(uri))
        urls = [url_in(await tea.irc.next()) for _ in range(2)]
        assert urls[0] != urls[1], "an address belongs to one event"
        assert [(await tea.get(url))[0] for url in urls] == [200, 200]
        await tea.matrix.send(f"PUT /rooms/{{{ALIAS}}}/redact/<{first}>/r1 {{}}")
        assert tea.matrix.answer[0] == 200
        assert [(await tea.get(url))[0] for url in urls] == [404, 200]
        await tea.irc.send("CHATHISTORY LATEST #tea * 10")
        assert urls[0] not in " ".join(await tea.irc.pending())
        assert again

    at_tea(test)


def test_27_7_a_file_that_is_shown_again_while_its_message_is_taken_away(at_tea: AtTea) -> None:
    """The same bytes are uploaded, and said, in the moment of the redaction: one address ends, the other does not."""

    async def test(tea: Tea) -> None:
        uri = await tea.upload(picture(), "image/png", "tea.png")
        first = await tea.say(image(uri))
        url = url_in(await tea.irc.next())
        _, answer = await tea.matrix.call("GET", f"/directory/room/{quote(ALIAS, safe='')}")
        room = f"/rooms/{quote(answer['room_id'], safe='')}"
        redacted, second, said = await asyncio.gather(
            tea.matrix.call("PUT", f"{room}/redact/{quote(first, safe='')}/r1", {}),
            tea.upload(picture(), "image/png", "tea.png"),
            tea.matrix.call("PUT", f"{room}/send/m.room.message/again", image(uri)),
        )
        assert (redacted[0], said[0]) == (200, 200)
        (again,) = [url_in(line) for line in await tea.irc.pending() if ORIGIN in line]
        assert [(await tea.get(one))[0] for one in (url, again)] == [404, 200]
        await tea.say(image(second))
        assert (await tea.get(url_in(await tea.irc.next())))[0] == 200

    at_tea(test)


def test_12_2_an_address_ends_with_the_last_local_member(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        await tea.say(image(await tea.upload(picture(), "image/png", "tea.png")))
        url = url_in(await tea.irc.next())
        await tea.irc.send("PART #tea")
        await tea.matrix.send(f"POST /rooms/{{{ALIAS}}}/leave {{}}")
        await tea.irc.pending()
        assert (await tea.get(url))[0] == 200
        bob = tea.at.app.middle.accounts.user_id("bob")
        await tea.at.app.middle.accounts.leave_rooms(bob, None)
        assert (await tea.get(url))[0] == 404

    at_tea(test)


def test_12_2_a_quarantined_file_has_no_address(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        uri = await tea.upload(picture(), "image/png", "tea.png")
        await tea.say(image(uri))
        url = url_in(await tea.irc.next())
        await tea.at.app.media.shelf.quarantine(parse_mxc(uri))
        assert (await tea.get(url))[0] == 404

    at_tea(test)


def test_12_3_a_file_from_irc(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        await tea.irc.send("VERSION")
        tokens = " ".join(await tea.irc.pending())
        upload = re.search(r" soju\.im/FILEHOST=(\S+)", tokens)
        assert upload is not None and upload[1] == f"{ORIGIN}/upload"
        data = picture()
        more = {"content-type": "image/png", "content-disposition": 'attachment; filename="my tea.png"'}
        status, headers, _ = await tea.at.web("POST", upload[1], data, {**basic("ann"), **more})
        assert status == 201
        url = headers["location"]
        assert url.endswith("/my%20tea.png")
        assert await tea.get(url) == (200, data), "the uploader can look at it before it is sent"
        assert (await tea.at.web("HEAD", url))[0] == 200
        await tea.irc.send(f"PRIVMSG #tea :{url}")
        content = (await tea.event())["content"]
        assert content["msgtype"] == "m.image"
        assert (content["body"], content["filename"]) == ("my tea.png", "my tea.png")
        assert content["info"] == {"mimetype": "image/png", "size": len(data), "w": 30, "h": 20}
        status, _, body = await tea.at.web(
            "GET",
            f"/_matrix/client/v1/media/download/{content['url'].removeprefix('mxc://')}",
            headers={"authorization": f"Bearer {tea.matrix._token}"},
        )
        assert (status, body) == (200, data)
        # Everybody, the sender too, sees the address that belongs to the event.
        line, stanza = await tea.irc.next(), await tea.xmpp.next()
        assert url_in(line) == url_in(stanza) != url
        assert f":my tea.png (image/png, {len(data)} B) " in line
        # An address with something beside it is text.
        await tea.irc.send(f"PRIVMSG #tea :look {url}")
        assert (await tea.event())["content"]["body"] == f"look {url}"

    at_tea(test)


def test_12_3_who_may_upload(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        for headers in ({}, basic("ann", "wrong"), basic("nobody"), {"authorization": "Basic !"}):
            status, answered, _ = await tea.at.web("POST", "/upload", b"x", headers)
            assert status == 401 and answered["www-authenticate"].startswith("Basic ")
        token = {"authorization": f"Bearer {tea.matrix._token}"}
        assert (await tea.at.web("POST", "/upload", b"x", token))[0] == 201
        assert (await tea.at.web("POST", "/upload", b"x", {"authorization": "Bearer no"}))[0] == 401
        assert (await tea.at.web("GET", "/upload"))[0] == 405
        assert (await tea.at.web("POST", "/upload", bytes(5_000_001), token))[0] == 413

    at_tea(test)


def test_12_3_a_token_for_one_s_files(at_tea: AtTea) -> None:
    """spec: IRCv3 filehost: "Clients MUST include an Authorization header field with the Bearer scheme"."""

    async def test(tea: Tea) -> None:
        await tea.irc.send("FILEHOST TOKEN")
        (line,) = await tea.irc.pending()
        token = line.rpartition(" ")[2]
        assert line.endswith(f" FILEHOST TOKEN {token}")
        bearer = {"authorization": f"Bearer {token}"}
        status, headers, _ = await tea.at.web("POST", "/upload", b"x", bearer)
        assert status == 201
        await tea.irc.send(f"PRIVMSG #tea :{headers['location']}")
        assert (await tea.event())["content"]["msgtype"] == "m.file", "it is a file of ann's"
        # It opens nothing else.
        whoami = "/_matrix/client/v3/account/whoami"
        assert (await tea.at.web("GET", whoami, headers=bearer))[0] == 401
        for wrong in (token[:-1], token[1:], token + "A", "A" * len(token), "é"):
            forged = {"authorization": f"Bearer {wrong}"}
            assert (await tea.at.web("POST", "/upload", b"x", forged))[0] == 401

    at_tea(test)


def test_12_3_what_a_page_of_another_origin_may_do(at_tea: AtTea) -> None:
    """spec: IRCv3 filehost: "Servers MUST accept OPTIONS requests on the upload URI"; XEP-0363 7."""

    async def test(tea: Tea) -> None:
        for path, allowed in (("/upload", "POST"), ("/upload/a/b/c.png", "PUT"), ("/m/x/c.png", "GET, HEAD")):
            status, headers, body = await tea.at.web("OPTIONS", path)
            assert (status, body, headers["allow"]) == (204, b"", f"OPTIONS, {allowed}")
            assert headers["access-control-allow-origin"] == "*"
            assert headers["access-control-allow-methods"] == f"OPTIONS, {allowed}"
            named = headers["access-control-allow-headers"].split(", ")
            assert {"Authorization", "Content-Type", "Content-Disposition"} <= set(named)
            status, headers, _ = await tea.at.web("DELETE", path)
            assert (status, headers["allow"]) == (405, f"OPTIONS, {allowed}")

    at_tea(test)


def test_12_3_somebody_else_s_address_stays_text(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        _, headers, _ = await tea.at.web("POST", "/upload", b"x", basic("bob"))
        for text in (headers["location"], f"{ORIGIN}/m/{'x' * 22}/tea.png", "https://elsewhere.example/tea.png"):
            await tea.irc.send(f"PRIVMSG #tea :{text}")
            content = (await tea.event())["content"]
            assert (content["msgtype"], content["body"]) == ("m.text", text)

    at_tea(test)


async def slot(tea: Tea, **attributes: str) -> str:
    given = "".join(f" {name.replace('_', '-')}='{value}'" for name, value in attributes.items())
    await tea.xmpp.send(
        f"<iq type='get' id='s1' to='example.org'><request xmlns='urn:xmpp:http:upload:0'{given}/></iq>"
    )
    return await tea.xmpp.next()


def test_12_4_a_file_from_xmpp(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        data = picture()
        answer = await slot(tea, filename="très cool.png", size=str(len(data)), content_type="image/png")
        put, get = re.findall(r"url='([^']*)'", answer)
        assert put.startswith(f"{ORIGIN}/upload/") and put.endswith("/tr%C3%A8s%20cool.png")
        assert get.endswith("/tr%C3%A8s%20cool.png")
        assert (await tea.get(get))[0] == 404
        assert (await tea.at.web("PUT", put, data + b"x"))[0] == 400
        assert (await tea.at.web("PUT", put, data, {"content-type": "text/html"}))[0] == 400
        assert (await tea.at.web("PUT", put.replace("/upload/", "/upload/a"), data))[0] == 404
        assert (await tea.at.web("PUT", put, data, {"content-type": "image/png"}))[0] == 201
        assert (await tea.at.web("PUT", put, data))[0] == 409
        assert await tea.get(get) == (200, data)
        oob = f"<x xmlns='jabber:x:oob'><url>{get}</url></x>"
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat' id='f1'><body>{get}</body>{oob}</message>")
        content = (await tea.event())["content"]
        assert content["msgtype"] == "m.image" and content["filename"] == "très cool.png"
        assert content["info"] == {"mimetype": "image/png", "size": len(data), "w": 30, "h": 20}
        assert content["url"].startswith("mxc://example.org/")
        line, stanza = await tea.irc.next(), await tea.xmpp.next()
        assert f":très cool.png (image/png, {len(data)} B) {url_in(line)}" in line
        # Its writer is shown what he wrote; the others the address that goes with the message.
        assert " id='f1'" in stanza and f"<body>{get}</body>" in stanza
        assert f"target='{get}'" in stanza and url_in(line) != get and url_in(line) not in stanza
        # The uploader's own address goes with the message.
        event_id = re.search(r"stanza-id xmlns='urn:xmpp:sid:0' by='[^']*' id='([^']*)'", stanza)
        assert event_id is not None
        await tea.xmpp.send(
            f"<message to='tea@{ROOMS}' type='groupchat'><retract xmlns='urn:xmpp:message-retract:1' "
            f"id='{event_id[1]}'/></message>"
        )
        await tea.xmpp.pending()
        assert [(await tea.get(url))[0] for url in (url_in(line), get)] == [404, 404]

    at_tea(test)


def test_12_4_a_caption_and_a_file_beside_it(at_tea: AtTea) -> None:
    """spec: XEP-0447 4.1"""

    async def test(tea: Tea) -> None:
        answer = await slot(tea, filename="tea.txt", size="5", content_type="text/plain")
        put, get = re.findall(r"url='([^']*)'", answer)
        assert (await tea.at.web("PUT", put, b"hello"))[0] == 201
        sources = f"<sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{get}'/></sources>"
        sharing = f"<file-sharing xmlns='urn:xmpp:sfs:0'>{sources}</file-sharing>"
        await tea.xmpp.send(
            f"<message to='tea@{ROOMS}' type='groupchat'><body>as *promised*</body>{sharing}</message>"
        )
        content = (await tea.event())["content"]
        assert (content["msgtype"], content["filename"], content["body"]) == ("m.file", "tea.txt", "as promised")
        assert content["formatted_body"] == "as <strong>promised</strong>"

    at_tea(test)


def test_12_4_a_file_without_anything_beside_it(at_tea: AtTea) -> None:
    """spec: XEP-0447 3.1: a body is for clients that know no such element"""

    async def test(tea: Tea) -> None:
        get = await uploaded(tea, "tea.txt", b"hello")
        sharing = f"<file-sharing xmlns='urn:xmpp:sfs:0'><sources>{SHARED.format(get)}</sources></file-sharing>"
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat'>{sharing}</message>")
        content = (await tea.event())["content"]
        assert (content["msgtype"], content["body"]) == ("m.file", "tea.txt")

    at_tea(test)


SHARED = "<url-data xmlns='http://jabber.org/protocol/url-data' target='{}'/>"


async def uploaded(tea: Tea, name: str, data: bytes, kind: str = "text/plain") -> str:
    """The address of a file that is uploaded by XMPP."""
    answer = await slot(tea, filename=name, size=str(len(data)), content_type=kind)
    put, get = re.findall(r"url='([^']*)'", answer)
    assert (await tea.at.web("PUT", put, data))[0] == 201
    return str(get)


def test_12_1_a_small_picture_from_matrix(at_tea: AtTea) -> None:
    """spec: XEP-0446 2 (thumbnail)"""

    async def test(tea: Tea) -> None:
        mxc, small = await tea.upload(picture(), "image/png", "tea.png"), picture()
        thumbnail = await tea.upload(small, "image/png", "small.png")
        about = {"mimetype": "image/png", "w": 6, "h": 4}
        event_id = await tea.say(image(mxc, info={"thumbnail_url": thumbnail, "thumbnail_info": about}))
        stanza = await tea.xmpp.next()
        found = re.search(
            "<thumbnail xmlns='urn:xmpp:thumbs:1' uri='([^']*)' media-type='image/png' width='6' height='4'/>", stanza
        )
        assert found is not None, stanza
        assert await tea.get(found[1]) == (200, small)
        await tea.matrix.send(f"PUT /rooms/{{{ALIAS}}}/redact/<{event_id}>/r1 {{}}")
        await tea.matrix.pending()
        await tea.xmpp.next()
        assert (await tea.get(found[1]))[0] == 404

    at_tea(test)


def test_12_4_what_is_said_of_a_file_is_kept_and_comes_back(at_tea: AtTea) -> None:
    """spec: XEP-0446 2, XEP-0300 3: the hash that this server has found out is the right one"""

    async def test(tea: Tea) -> None:
        get, small = await uploaded(tea, "tea.txt", b"hello"), await uploaded(tea, "s.png", picture(), "image/png")
        said = (
            "<desc>Tea at five</desc><date>2015-07-26T21:46:00+01:00</date>"
            "<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AAAA</hash>"
            "<hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>2XarmwTlNxDAMkvymloX3S5+VbylNrJt/l5QyPa+YoU=</hash>"
            "<hash xmlns='urn:xmpp:hashes:2' algo='no hash'>&lt;</hash>"
            "<thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:sha1+ffd7@bob.xmpp.org' media-type='image/png' width='9'/>"
            f"<thumbnail xmlns='urn:xmpp:thumbs:1' uri='{small}' media-type='image/png' width='30' height='20'/>"
        )
        sharing = (
            f"<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>{said}</file>"
            f"<sources>{SHARED.format(get)}</sources></file-sharing>"
        )
        spoiler = "<spoiler xmlns='urn:xmpp:spoiler:0'>tea</spoiler>"
        inside = f"<body>{get}</body>{sharing}{spoiler}"
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat'>{inside}</message>")
        content = (await tea.event())["content"]
        digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
        assert content["dev.tripoint.file"] == {
            "hashes": {"sha-256": digest, "sha3-256": "2XarmwTlNxDAMkvymloX3S5+VbylNrJt/l5QyPa+YoU="},
            "description": "Tea at five",
            "made": "2015-07-26T21:46:00+01:00",
            "previews": [{"uri": "cid:sha1+ffd7@bob.xmpp.org", "type": "image/png", "w": 9}],
        }
        assert content["info"]["thumbnail_info"] == {"mimetype": "image/png", "w": 30, "h": 20}
        assert content["info"]["thumbnail_url"].startswith("mxc://example.org/")
        stanza = await tea.xmpp.next()
        assert f"<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>{digest}</hash><hash " in stanza
        assert "<desc>Tea at five</desc><date>2015-07-26T20:46:00.000Z</date>" in stanza
        assert "<thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:sha1+ffd7@bob.xmpp.org' media-type='image/png'" in stanza
        assert "media-type='image/png' width='30' height='20'/></file>" in stanza
        assert "</fallback>" + spoiler in stanza

    at_tea(test)


def test_12_4_several_files_in_a_message_are_several_messages(at_tea: AtTea) -> None:
    """spec: XEP-0447 4.2"""

    async def test(tea: Tea) -> None:
        gets = [await uploaded(tea, f"{number}.txt", b"%d" % number) for number in (1, 2, 3)]
        sharings = "".join(
            [
                f"<file-sharing xmlns='urn:xmpp:sfs:0' id='{number}'><sources>{SHARED.format(get)}</sources>"
                "</file-sharing>"
                for number, get in enumerate(gets)
            ]
        )
        body = f"<body>three files\n{' '.join(gets)}</body>"
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat' id='f3'>{body}{sharings}</message>")
        contents = [(await tea.event())["content"] for _ in gets]
        assert [one["filename"] for one in contents] == ["1.txt", "2.txt", "3.txt"]
        assert [one["body"] for one in contents] == ["three files", "2.txt", "3.txt"]
        assert " id='f3'" in await tea.xmpp.next()
        # Without a text at all.
        await tea.xmpp.pending()
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat'>{sharings}</message>")
        assert [(await tea.event())["content"]["body"] for _ in gets] == ["1.txt", "2.txt", "3.txt"]

    at_tea(test)


def test_12_6_a_file_that_is_encrypted_is_passed_on_as_it_is(at_tea: AtTea) -> None:
    """spec: XEP-0448 3: what lies at its address is of no use without what stands beside it"""

    async def test(tea: Tea) -> None:
        get = await uploaded(tea, "secret.bin", b"hidden")
        where = f"<sources>{SHARED.format(get)}</sources>"
        source = f"<encrypted xmlns='urn:xmpp:esfs:0'><key>SuRJ</key>{where}</encrypted>"
        sharing = (
            "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><name>tea.txt</name></file>"
            f"<sources>{source}</sources></file-sharing>"
        )
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat' id='s1'>{sharing}</message>")
        assert (await tea.event())["type"] == "dev.tripoint.xmpp.message"
        assert sharing in await tea.xmpp.next()
        await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat'><body>{get}</body>{sharing}</message>")
        assert (await tea.event())["content"]["msgtype"] == "m.text"
        assert sharing in await tea.xmpp.next()

    at_tea(test)


def test_12_4_and_12_6_what_stays_text(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        for text in ("https://elsewhere.example/tea.png", "aesgcm://elsewhere.example/tea.png#00ff"):
            oob = f"<x xmlns='jabber:x:oob'><url>{text}</url></x>"
            await tea.xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat'><body>{text}</body>{oob}</message>")
            content = (await tea.event())["content"]
            assert (content["msgtype"], content["body"]) == ("m.text", text)
            assert oob in await tea.xmpp.next(), "XMPP readers have it whole"

    at_tea(test)


def test_12_4_in_a_conversation_of_two(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        answer = await slot(tea, filename="tea.png", size="3", content_type="image/png")
        put, get = re.findall(r"url='([^']*)'", answer)
        assert (await tea.at.web("PUT", put, b"abc"))[0] == 201
        await tea.xmpp.send(f"<message to='ann@example.org' type='chat' id='d1'><body>{get}</body></message>")
        line = await tea.irc.next()
        assert ":bob!bob@example.org PRIVMSG ann :tea.png (image/png, 3 B) https://" in line
        assert await tea.get(url_in(line)) == (200, b"abc")
        await tea.irc.send("PRIVMSG bob :thanks")
        assert "<body>thanks</body>" in await tea.xmpp.next()

    at_tea(test)


def test_12_5_the_same_limit_everywhere(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        token = {"authorization": f"Bearer {tea.matrix._token}"}
        _, _, body = await tea.at.web("GET", "/_matrix/client/v1/media/config", headers=token)
        assert orjson.loads(body) == {"m.upload.size": 5_000_000}
        await tea.xmpp.send(
            "<iq type='get' id='i1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        info = await tea.xmpp.next()
        assert "<identity category='store' type='file' name='HTTP File Upload'/>" in info
        assert "<feature var='urn:xmpp:http:upload:0'/>" in info
        assert "<field var='max-file-size'><value>5000000</value></field>" in info
        refused = await slot(tea, filename="tea.png", size="5000001")
        assert "<not-acceptable " in refused and "type='modify'" in refused
        assert "<file-too-large xmlns='urn:xmpp:http:upload:0'><max-file-size>5000000</max-file-size>" in refused
        nameless: list[dict[str, str]] = [{"size": "5"}, {"filename": "..", "size": "5"}]
        for wrong in (*nameless, {"filename": "x"}, {"filename": "x", "size": "-5"}):
            assert "<bad-request " in await slot(tea, **wrong)

    at_tea(test)


def test_12_6_an_encrypted_file(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        file = {"url": "mxc://example.org/abc", "key": {}, "iv": "", "hashes": {}, "v": "v2"}
        await tea.say({"msgtype": "m.image", "body": "secret.png", "file": file, "info": {"mimetype": "image/png"}})
        assert (await tea.irc.next()).endswith(" PRIVMSG #tea :[encrypted file]")
        stanza = await tea.xmpp.next()
        assert "<body>[encrypted file]</body>" in stanza and "oob" not in stanza

    at_tea(test)


def test_10_11_a_sticker(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        uri = await tea.upload(picture(), "image/png", "cat.png")
        body = {"body": "happy cat", "url": uri, "info": {"mimetype": "image/png"}}
        await tea.matrix.send(f"PUT /rooms/{{{ALIAS}}}/send/m.sticker/s1 {orjson.dumps(body).decode()}")
        line, stanza = await tea.irc.next(), await tea.xmpp.next()
        assert f":happy cat (image/png) {url_in(line)}" in line
        assert f"<body>{url_in(line)}</body>" in stanza
        assert (await tea.get(url_in(line)))[0] == 200

    at_tea(test)


def test_27_2_a_file_sent_on_by_the_address_that_was_shown_is_text(at_tea: AtTea) -> None:
    """An address belongs to its event: sent on, it stays an address, and ends with the event."""

    async def test(tea: Tea) -> None:
        await tea.say(image(await tea.upload(picture(), "image/png", "tea.png")))
        url = url_in(await tea.irc.next())
        await tea.irc.send(f"PRIVMSG #tea :{url}")
        assert (await tea.event())["content"]["body"] == url

    at_tea(test)


def test_10_8_the_whole_of_a_message_that_irc_cuts(at_tea: AtTea) -> None:
    async def test(tea: Tea) -> None:
        text = "\n".join(f"line {number} of <many> é" for number in range(20))
        event_id = await tea.say({"msgtype": "m.text", "body": text})
        lines = [await tea.irc.next() for _ in range(4)]
        url = url_in(lines[3])
        assert lines[2].endswith(":line 2 of <many> é") and lines[3].endswith(f":... [20 lines] {url}")
        status, headers, body = await tea.at.web("GET", url)
        assert (status, body.decode()) == (200, text + "\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["x-content-type-options"] == "nosniff"
        await tea.matrix.send(f"PUT /rooms/{{{ALIAS}}}/redact/<{event_id}>/r1 {{}}")
        assert (await tea.get(url))[0] == 404

    at_tea(test)


@pytest.mark.parametrize("target", ["#den", "cleo"])
@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
def test_27_7_an_upload_that_nobody_was_shown_goes_with_its_message_too(
    tmp_path: Path, sockets: bool, target: str
) -> None:
    """Without an echo, and with nobody else on IRC or XMPP, the writer has the address of the upload alone."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=sockets) as at:
            await at.person("cleo", "matrix", "account", [])
            ann = await at.person("ann", "irc", "account", [])
            await ann.send("JOIN #den")
            await ann.pending()
            matrix: Any = await at.person("ann", "matrix", "account", [])
            _, headers, _ = await at.web("POST", "/upload", b"x", basic("ann"))
            await ann.send(f"PRIVMSG {target} :{headers['location']}")
            event: dict[str, Any] = {}
            while event.get("content", {}).get("msgtype") != "m.file":
                event = orjson.loads(await matrix.next())
            assert (await at.web("GET", headers["location"]))[0] == 200
            _, found = await matrix.call("GET", "/joined_rooms")
            for room_id in found["joined_rooms"]:
                path = f"/rooms/{quote(room_id, safe='')}/redact/{quote(event['event_id'], safe='')}/r1"
                await matrix.call("PUT", path, {})
            assert (await at.web("GET", headers["location"]))[0] == 404

    asyncio.run(asyncio.wait_for(work(), 60))
