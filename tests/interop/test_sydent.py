"""Inviting by e-mail address through a Sydent: somebody who is not known yet comes in on another server; somebody
who is known is invited at once; what was published is taken back by the signature of the server.

spec: Matrix client-server-api module third-party-invites; identity-service-api
"""

import asyncio
import itertools
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from tests.interop.matrix_person import Person, Refused
from tests.interop.neighbourhood import HOST, neighbourhood
from tests.interop.peer import until
from tests.interop.sydent_server import PYTHON, Sydent, must_have, running_sydent
from tests.interop.tripoint_server import running_tripoint
from tests.support.mail import MailHouse, mail_house
from tests.support.ports import free_port

pytestmark = pytest.mark.interop

FRIEND = "friend@home.example"
_secrets = itertools.count()


@asynccontextmanager
async def front(context: ssl.SSLContext, port: int, upstream: int) -> AsyncIterator[None]:
    """TLS on a port, forwarded: Sydent speaks plain HTTP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", upstream)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(carry(reader, back), carry(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()


class Account:
    """Somebody's account at the identity server."""

    def __init__(self, sydent: Sydent) -> None:
        self.sydent = sydent
        self.token = ""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self.sydent.port}/_matrix/identity/v2{path}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body, headers=headers) as answer,
        ):
            value = await answer.json()
            assert answer.status == 200, (value, self.sydent.log.read_text()[-2000:])
            return value

    async def register(self, person: Person) -> "Account":
        opened = await person.call("POST", f"/user/{quote(person.user_id)}/openid/request_token", {})
        self.token = (await self.call("POST", "/account/register", opened))["token"]
        return self

    async def show(self, email: str, mails: MailHouse) -> tuple[str, str]:
        """Show that an address is one's own: (sid, client secret)."""
        secret, before = f"secret{next(_secrets)}", len(mails.letters)
        body = {"email": email, "client_secret": secret, "send_attempt": 1}
        sid = (await self.call("POST", "/validate/email/requestToken", body))["sid"]
        await until(lambda: len(mails.letters) > before, lambda: self.sydent.log.read_text()[-2000:])
        token = word(mails, "token")
        shown = {"sid": sid, "client_secret": secret, "token": token}
        assert (await self.call("POST", "/validate/email/submitToken", shown))["success"] is True
        return sid, secret


def word(mails: MailHouse, name: str) -> str:
    found = re.search(rf"^{name}: (\S+)$", mails.text(), re.MULTILINE)
    assert found is not None, mails.text()
    return found[1]


def test_people_are_invited_through_it(tmp_path: Path) -> None:
    must_have(PYTHON.exists(), "Sydent (make peers)")
    (tmp_path / "town").mkdir()
    tls_port = free_port()
    name = f"{HOST}:{tls_port}"

    with (
        neighbourhood(tmp_path / "town") as town,
        running_tripoint(tmp_path / "one", town, "one.example", name) as one,
        running_tripoint(tmp_path / "two", town, "two.example", name) as two,
    ):
        certificate, key = town.authority.issue(HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def story() -> None:
            async with mail_house() as mails:
                starting = running_sydent(tmp_path / "id", town, tls_port=tls_port, smtp_port=mails.port)
                sydent = await asyncio.to_thread(starting.__enter__)
                try:
                    async with front(context, tls_port, sydent.port):
                        alice = await Person(one, "alice").register()
                        bob = await Person(two, "bob").register()
                        await _story(sydent, mails, alice, bob)
                finally:
                    await asyncio.to_thread(starting.__exit__, None, None, None)

        asyncio.run(story())


async def _story(sydent: Sydent, mails: MailHouse, alice: Person, bob: Person) -> None:
    hers = await Account(sydent).register(alice)
    by_mail = {"id_server": sydent.name, "id_access_token": hers.token, "medium": "email", "address": FRIEND}
    room = await alice.create(preset="private_chat", name="Tea")
    await alice.call("POST", f"/rooms/{quote(room)}/invite", by_mail)
    await until(lambda: len(mails.letters) > 0, lambda: sydent.log.read_text()[-2000:])
    assert word(mails, "room") == "Tea"
    token = word(mails, "token")
    kept = await alice.call("GET", f"/rooms/{quote(room)}/state/m.room.third_party_invite/{token}")
    assert "friend" not in kept["display_name"] and len(kept["public_keys"]) == 2
    # Bob shows that the address is his, and has it published through his own server: Sydent tells that of invitations.
    his = await Account(sydent).register(bob)
    sid, secret = await his.show(FRIEND, mails)
    bind = {"id_server": sydent.name, "id_access_token": his.token, "sid": sid, "client_secret": secret}
    await bob.call("POST", "/account/3pid/bind", bind)
    await bob.until(lambda: bob.membership.get(room) == "invite")
    await bob.call("POST", f"/join/{quote(room)}", {})
    # Now that he is known, he is invited at once.
    other = await alice.create(preset="private_chat")
    await alice.call("POST", f"/rooms/{quote(other)}/invite", by_mail)
    await bob.until(lambda: bob.membership.get(other) == "invite")
    # It is taken back by the signature of his server; then nobody knows him by it.
    of = {"medium": "email", "address": FRIEND}
    assert await bob.call("POST", "/account/3pid/unbind", of) == {"id_server_unbind_result": "success"}
    third = await alice.create(preset="private_chat")
    before = len(mails.letters)
    await alice.call("POST", f"/rooms/{quote(third)}/invite", by_mail)
    await until(lambda: len(mails.letters) > before, lambda: sydent.log.read_text()[-2000:])
    # With the key of the letter whoever reads it has the invitation signed for himself.
    token, key = word(mails, "token"), word(mails, "key")
    signed = await his.call("POST", "/sign-ed25519", {"mxid": bob.user_id, "token": token, "private_key": key})
    await bob.call("POST", f"/join/{quote(third)}", {"third_party_signed": signed})
    await bob.until(lambda: bob.membership.get(third) == "join")
    with pytest.raises(Refused) as refused:
        await alice.call("POST", f"/rooms/{quote(third)}/invite", {**by_mail, "id_access_token": "wrong"})
    assert refused.value.status == 403
