"""The access token of a Matrix client lets its user in on IRC and XMPP, for as long as the client is logged in.

spec: RFC7628 3; XEP-0493 2; docs/mapping.md 18
"""

import base64
import json
from pathlib import Path

from tests.cross.world import PASSWORD, IrcPerson, World, XmppPerson, world
from tests.support.middle import run
from tripoint.xmpp.wire import render

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


def bearer(token: str, authzid: str = "") -> str:
    header = f"n,a={authzid}," if authzid else "n,,"
    return base64.b64encode(f"{header}\x01auth=Bearer {token}\x01\x01".encode()).decode()


async def phone_of(at: World, name: str) -> str:
    """An access token of somebody's telephone."""
    accounts = at.app.middle.accounts
    account = await accounts.account(accounts.user_id(name))
    if account is None:
        account = await accounts.register(name, PASSWORD, address="127.0.0.1")
    opened = await accounts.log_in(account, protocol="matrix", device_id="PHONE", tokens=True)
    assert opened.access_token is not None
    return opened.access_token


async def on_irc(at: World, nick: str, response: str) -> tuple[IrcPerson, str]:
    """Somebody who tries it, and what the server said at the end of SASL."""
    person = IrcPerson(await at.connect("irc"))
    await person.send(f"CAP LS 302\r\nCAP REQ :sasl\r\nNICK {nick}\r\nUSER {nick} 0 * :{nick}")
    await person.send(f"AUTHENTICATE OAUTHBEARER\r\nAUTHENTICATE {response}")
    while True:
        line = await person.next()
        if line.startswith("AUTHENTICATE ") or " AUTHENTICATE " in line:
            if line.endswith(" +"):
                continue
            assert json.loads(base64.b64decode(line.split()[-1]))["status"] == "invalid_token"
            await person.send(f"AUTHENTICATE {base64.b64encode(bytes([1])).decode()}")
        elif any(f" {numeric} " in line for numeric in ("903", "904", "907", "908")):
            return person, line


async def on_xmpp(at: World, response: str) -> tuple[XmppPerson, str]:
    person = XmppPerson(await at.connect("xmpp"), "example.org")
    await person.open()
    await person.send(f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>{response}</auth>")
    stanza = await person.stanza()
    if stanza.name == "challenge":
        assert json.loads(base64.b64decode(stanza.text))["status"] == "invalid_token"
        await person.send(f"<response xmlns='{SASL}'>{base64.b64encode(bytes([1])).decode()}</response>")
        stanza = await person.stanza()
    return person, render(stanza).decode()


async def ended(person: IrcPerson | XmppPerson) -> None:
    try:
        while True:
            await person.next()
    except EOFError:
        return


def test_a_token_lets_in_and_takes_out(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            token = await phone_of(at, "alice")
            accounts = at.app.middle.accounts
            chatter, said = await on_irc(at, "alice", bearer(token, "alice"))
            assert " 903 " in said
            await chatter.send("CAP END")
            while " 001 " not in await chatter.next():
                pass
            jabberer, said = await on_xmpp(at, bearer(token, "alice@example.org"))
            assert "<success" in said
            await jabberer.open()
            await jabberer.send(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                "<resource>desk</resource></bind></iq>"
            )
            assert (await jabberer.stanza()).get("type") == "result"
            devices = await accounts.devices(accounts.user_id("alice"))
            assert sorted(device.protocol for device in devices) == ["irc", "matrix", "xmpp"]
            # spec: XEP-0493 2: "It should be possible to revoke the granted access at any time."
            await accounts.revoke(token)
            await ended(chatter)
            await ended(jabberer)

    run(work)


def test_tokens_that_are_nobody_s_or_somebody_else_s(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            token = await phone_of(at, "alice")
            await at.app.middle.accounts.register("bob", PASSWORD, address="127.0.0.1")
            for response in (bearer("made-up"), bearer(token, "bob")):
                _, said = await on_irc(at, "carl", response)
                assert " 904 " in said
            assert "<not-authorized" in (await on_xmpp(at, bearer("made-up")))[1]
            assert "<invalid-authzid" in (await on_xmpp(at, bearer(token, "bob@example.org")))[1]
            accounts = at.app.middle.accounts
            await accounts.set_locked(accounts.user_id("alice"), True)
            assert " 904 " in (await on_irc(at, "carl", bearer(token)))[1]
            assert "<account-disabled" in (await on_xmpp(at, bearer(token)))[1]

    run(work)
