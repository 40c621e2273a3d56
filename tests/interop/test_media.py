"""Files between clients and servers that nobody here wrote: matrix-nio, slixmpp, a Python IRC library, matrix-synapse.

spec: docs/mapping.md 12
"""

import asyncio
import base64
import io
import re
from pathlib import Path

import aiohttp
import pytest
from nio import DownloadResponse, RoomMessageImage, ThumbnailResponse
from nio.rooms import MatrixRoom
from PIL import Image
from tests.interop.irc_peer import IrcPeer
from tests.interop.matrix_person import Person
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, until
from tests.interop.slix_peer import SlixPeer
from tests.interop.two_servers import SYNAPSE, TRIPOINT, World, two_servers
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

URL = r"https?://[^\s<>'\"]+/m/[A-Za-z0-9_-]{22}/[A-Za-z0-9._%-]+"


def picture(colour: tuple[int, int, int], size: int = 200) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(made, "PNG")
    return made.getvalue()


async def fetched(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


def addresses(texts: list[str]) -> list[str]:
    """Addresses of files, each once, in order."""
    return list(dict.fromkeys(re.findall(URL, "\n".join(texts))))


async def newest(texts: list[str], count: int) -> str:
    """The address that comes as the `count`-th."""
    await until(lambda: len(addresses(texts)) >= count, lambda: "\n".join(texts[-10:]))
    return addresses(texts)[count - 1]


# -- three clients of one server


def test_three_clients_send_each_other_pictures(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        asyncio.run(_three_clients(server))


async def _three_clients(server: Server) -> None:
    nio, slix, irc = NioPeer("nina"), SlixPeer("sam"), IrcPeer("ivan")
    pictures: list[RoomMessageImage] = []

    async def keep(room: MatrixRoom, event: RoomMessageImage) -> None:
        pictures.append(event)

    try:
        for peer in (nio, slix, irc):
            await peer.start(server)
        nio.client.add_event_callback(keep, RoomMessageImage)
        slix.client.register_plugin("xep_0363")
        await nio.create()
        for peer in (nio, slix, irc):
            await peer.join()
        await _from_nio(nio, slix, irc)
        await _from_slixmpp(nio, slix, irc, pictures)
        await _from_irc(server, nio, slix, irc, pictures)
    finally:
        await asyncio.gather(*(peer.stop() for peer in (nio, slix, irc)), return_exceptions=True)


async def _from_nio(nio: NioPeer, slix: SlixPeer, irc: IrcPeer) -> None:
    data = picture((200, 0, 0))
    uri = await nio.upload(data, "image/png", "red.png")
    content = {
        "msgtype": "m.image",
        "body": "red.png",
        "url": uri,
        "info": {"mimetype": "image/png", "size": len(data), "w": 200, "h": 200},
    }
    await nio.send("m.room.message", content)
    by_irc, by_xmpp = await newest(irc.lines, 1), await newest(slix.stanzas, 1)
    assert by_irc == by_xmpp
    assert await fetched(by_irc) == (200, data)
    (stanza,) = (text for text in slix.stanzas if by_xmpp in text)
    assert f"<body>{by_xmpp}</body>" in stanza and f"<url>{by_xmpp}</url>" in stanza
    small = await nio.client.thumbnail(*uri.removeprefix("mxc://").split("/"), 96, 96)
    assert isinstance(small, ThumbnailResponse), small
    with Image.open(io.BytesIO(small.body)) as image:
        assert image.size == (96, 96)


async def _from_slixmpp(nio: NioPeer, slix: SlixPeer, irc: IrcPeer, pictures: list[RoomMessageImage]) -> None:
    data = picture((0, 200, 0))
    uploads = slix.client.plugin["xep_0363"]
    url = await uploads.upload_file("grün.png", len(data), "image/png", input_file=io.BytesIO(data))
    assert await fetched(url) == (200, data)
    message = slix.client.make_message(slix.room, mbody=url, mtype="groupchat")
    slix.client.register_plugin("xep_0066")
    message["oob"]["url"] = url
    message.send()
    await until(lambda: len(pictures) == 2, lambda: f"{pictures}")
    event = pictures[-1]
    assert event.body == "grün.png"
    assert event.source["content"]["info"] == {"mimetype": "image/png", "size": len(data), "w": 200, "h": 200}
    answer = await nio.client.download(event.url)
    assert isinstance(answer, DownloadResponse), answer
    assert (answer.body, answer.content_type) == (data, "image/png")
    shown = await newest(irc.lines, 2)
    assert shown != url and await fetched(shown) == (200, data)


async def _from_irc(
    server: Server, nio: NioPeer, slix: SlixPeer, irc: IrcPeer, pictures: list[RoomMessageImage]
) -> None:
    token = re.search(r"soju\.im/FILEHOST=(\S+)", "\n".join(irc.lines))
    assert token is not None
    data = picture((0, 0, 200))
    headers = {
        "Authorization": "Basic " + base64.b64encode(f"{irc.account}:{PASSWORD}".encode()).decode(),
        "Content-Type": "image/png",
        "Content-Disposition": 'attachment; filename="blue.png"',
    }
    async with aiohttp.ClientSession() as session, session.post(token[1], data=data, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        url = answer.headers["Location"]
    await irc.say(url)
    await until(lambda: len(pictures) == 3, lambda: f"{pictures}")
    assert pictures[-1].body == "blue.png"
    got = await nio.client.download(pictures[-1].url)
    assert isinstance(got, DownloadResponse) and got.body == data
    # What is taken back is gone for everybody who has the address.
    shown = await newest(slix.stanzas, 3)
    assert await fetched(shown) == (200, data)
    await nio.client.room_redact(nio.room_id, pictures[-1].event_id)
    statuses = [(await fetched(one))[0] for one in (shown, url)]
    assert statuses == [404, 404]


# -- two servers


def test_files_between_a_synapse_and_a_tripoint(tmp_path: Path) -> None:
    with two_servers(tmp_path) as world:
        world.run(_two_servers(world))


async def _upload(person: Person, data: bytes, name: str) -> str:
    headers = {"Authorization": f"Bearer {person.token}", "Content-Type": "image/png"}
    address = f"{person.server.http}/_matrix/media/v3/upload?filename={name}"
    async with aiohttp.ClientSession() as session, session.post(address, data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["content_uri"])


async def _download(person: Person, uri: str, what: str = "download", query: str = "") -> tuple[int, bytes]:
    address = f"{person.server.http}/_matrix/client/v1/media/{what}/{uri.removeprefix('mxc://')}{query}"
    return await fetched(address, Authorization=f"Bearer {person.token}")


def _image(uri: str, name: str, size: int) -> dict[str, object]:
    return {"msgtype": "m.image", "body": name, "url": uri, "info": {"mimetype": "image/png", "size": size}}


async def _two_servers(world: World) -> None:
    nora, tom = await world.person("synapse", "nora"), await world.person("tripoint", "tom")
    room = await nora.create(room_alias_name="tea")
    await tom.join(f"#tea:{SYNAPSE}", SYNAPSE)
    irc = IrcPeer("ivan", channel=f"#tea:{SYNAPSE}")
    try:
        await irc.start(world.tripoint.process)
        await irc.join()
        # From the Synapse: to a Matrix client here, and by address to IRC.
        data = picture((250, 250, 0), 700)
        uri = await _upload(nora, data, "yellow.png")
        assert uri.startswith(f"mxc://{SYNAPSE}/")
        event_id = await nora.send(room, _image(uri, "yellow.png", len(data)))
        assert await _download(tom, uri) == (200, data)
        shown = await newest(irc.lines, 1)
        assert await fetched(shown) == (200, data)
        status, small = await _download(tom, uri, "thumbnail", "?width=320&height=240&method=scale")
        with Image.open(io.BytesIO(small)) as image:
            assert (status, image.size) == (200, (240, 240))
        await nora.redact(room, event_id)
        await tom.until(lambda: any(e["type"] == "m.room.redaction" for e in tom.timeline[room]))
        assert (await fetched(shown))[0] == 404
        # From here to the Synapse, which asks with its own code.
        ours = picture((0, 250, 250), 700)
        uri = await _upload(tom, ours, "cyan.png")
        assert uri.startswith(f"mxc://{TRIPOINT}/")
        await tom.send(room, _image(uri, "cyan.png", len(ours)))
        await nora.until(lambda: "cyan.png" in nora.said(room))
        assert await _download(nora, uri) == (200, ours)
        status, small = await _download(nora, uri, "thumbnail", "?width=96&height=96&method=crop")
        with Image.open(io.BytesIO(small)) as image:
            assert (status, image.size) == (200, (96, 96))
        # What is not there is not there, both ways.
        assert (await _download(nora, f"mxc://{TRIPOINT}/nothing"))[0] == 404
        assert (await _download(tom, f"mxc://{SYNAPSE}/nothing"))[0] == 404
    finally:
        await irc.stop()
