"""An app password lets one client in on IRC and XMPP, is no hold on the account, and ends when it is taken away.

spec: docs/mapping.md 18.2; RFC5802 3
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tests.cross.test_access_tokens import SASL, ended
from tests.cross.world import PASSWORD, IrcPerson, World, XmppPerson, world
from tests.support.middle import run
from tripoint.accounts.app_passwords import MAX_APPS
from tripoint.accounts.refusals import AccountRefusal, AccountRefused

HERE = "127.0.0.1"


def play(data: Path, story: Callable[[World], Coroutine[None, None, None]]) -> None:
    async def work() -> None:
        async with world(data, sockets=False) as at:
            await story(at)

    run(work)


async def on_irc(at: World, name: str, password: str, *, by_pass: bool = False) -> tuple[IrcPerson, str]:
    """Somebody who tries it by SASL PLAIN or by PASS, and how that ended."""
    person = IrcPerson(await at.connect("irc"))
    if by_pass:
        await person.send(f"PASS {name}:{password}\r\nNICK {name}\r\nUSER {name} 0 * :{name}")
    else:
        response = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        await person.send(f"CAP LS 302\r\nCAP REQ :sasl\r\nNICK {name}\r\nUSER {name} 0 * :{name}")
        await person.send(f"AUTHENTICATE PLAIN\r\nAUTHENTICATE {response}\r\nCAP END")
    while True:
        line = await person.next()
        if any(f" {numeric} " in line for numeric in ("900", "904", "464")):
            return person, line


async def on_xmpp(at: World, name: str, password: str, digest: str = "sha256") -> tuple[XmppPerson, str]:
    """Somebody who tries it by SCRAM, and the name of the last stanza."""
    person = XmppPerson(await at.connect("xmpp"), "example.org")
    await person.open()
    first = f"n={name},r=nonce"
    mechanism = {"sha1": "SCRAM-SHA-1", "sha256": "SCRAM-SHA-256"}[digest]
    await person.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{_b64(f'n,,{first}')}</auth>")
    challenge = base64.b64decode((await person.stanza()).text).decode()
    told = dict(part.split("=", 1) for part in challenge.split(","))
    salt, rounds = base64.b64decode(told["s"]), int(told["i"])
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, rounds)
    key = hmac.digest(salted, b"Client Key", digest)
    bare = f"c=biws,r={told['r']}"
    message = f"{first},{challenge},{bare}".encode()
    signature = hmac.digest(hashlib.new(digest, key).digest(), message, digest)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    await person.send(f"<response xmlns='{SASL}'>{_b64(f'{bare},p={proof}')}</response>")
    stanza = await person.stanza()
    if stanza.name == "success":
        proven = hmac.digest(hmac.digest(salted, b"Server Key", digest), message, digest)
        assert base64.b64decode(stanza.text) == b"v=" + base64.b64encode(proven), "the server knows it too"
        await person.open()
        await person.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert (await person.stanza()).get("type") == "result"
    return person, stanza.name


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def _asked(person: IrcPerson, words: str) -> str:
    await person.send(f"NS {words}")
    while True:
        line = await person.next()
        if ":NickServ!" in line:
            return line.partition(" :")[2]


def test_it_lets_one_client_in_and_is_no_hold_on_the_account(tmp_path: Path) -> None:
    async def story(at: World) -> None:
        accounts = at.app.middle.accounts
        alice = await at.person("alice", "irc", "account", [])
        assert isinstance(alice, IrcPerson)
        told = await _asked(alice, "APPPASS ADD the tablet")
        assert told.startswith("The password for the tablet, which is shown this once: ")
        secret = told.rpartition(" ")[2]
        assert len(secret) == 26
        assert "lets in on IRC and XMPP" in (await alice.next())
        device_id, _, name = (await _asked(alice, "APPPASS LIST")).partition(": ")
        assert name == "the tablet"
        assert (await alice.next()).endswith(" :End of app passwords (1)")
        chatter, said = await on_irc(at, "alice", secret)
        assert " 900 " in said
        other, said = await on_irc(at, "alice", secret, by_pass=True)
        assert " 900 " in said
        for digest in ("sha256", "sha1"):
            jabberer, said = await on_xmpp(at, "alice", secret, digest)
            assert said == "success"
            # The account's own is as good as before, and what is neither is not.
            assert (await on_xmpp(at, "alice", PASSWORD, digest))[1] == "success"
            assert (await on_xmpp(at, "alice", secret[1:] + "a", digest))[1] == "failure"
        # spec: XEP-0077 3.2, 3.3
        wishes = ("<remove/>", "<username>alice</username><password>another one</password>")
        for wish in wishes:
            await jabberer.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'>{wish}</query></iq>")
            assert "An app password is not enough for that" in await jabberer.next()
        with pytest.raises(AccountRefused):
            await accounts.check_password("alice", secret, address=HERE)
        # It is a session like others, and its end is theirs.
        assert device_id in {device.device_id for device in await accounts.devices(accounts.user_id("alice"))}
        assert await _asked(alice, f"SESSIONS END {device_id}") == f"Session {device_id} has ended"
        for person in (chatter, other, jabberer):
            await ended(person)
        assert " 904 " in (await on_irc(at, "alice", secret))[1]
        assert (await on_xmpp(at, "alice", secret))[1] == "failure"
        assert await _asked(alice, "APPPASS LIST") == "End of app passwords (0)"
        assert (await _asked(alice, f"APPPASS DEL {device_id}")).startswith("You have no such app password")

    play(tmp_path / "data", story)


def test_an_account_without_a_password_logs_in_by_it(tmp_path: Path) -> None:
    """As those of other sites have none; nobody is told so by the salt."""

    async def story(at: World) -> None:
        accounts = at.app.middle.accounts
        nina = await accounts.register_by_identity("nina", "", provider="club", subject="7", address=HERE)
        before = await accounts.scram_verifier("nina", "sha256")
        secret = await accounts.app_passwords.add(nina.user_id, "phone")
        after = await accounts.scram_verifier("nina", "sha256")
        assert (before.salt, before.iterations) == (after.salt, after.iterations)
        assert not await accounts.has_password(nina.user_id)
        assert " 900 " in (await on_irc(at, "nina", secret))[1]
        assert (await on_xmpp(at, "nina", secret))[1] == "success"
        # With a password of its own the account has another salt.
        await accounts.change_password(nina.user_id, "a password at last", keep_device=None, logout_devices=False)
        assert await accounts.app_passwords.of(nina.user_id) == []
        assert (await on_xmpp(at, "nina", secret))[1] == "failure"
        assert await accounts.devices(nina.user_id) != []
        assert "app" not in {device.protocol for device in await accounts.devices(nina.user_id)}

    play(tmp_path / "data", story)


def test_there_are_so_many_and_no_more(tmp_path: Path) -> None:
    async def story(at: World) -> None:
        accounts = at.app.middle.accounts
        bob = await accounts.register("bob", PASSWORD, address=HERE)
        secrets = [await accounts.app_passwords.add(bob.user_id, f"number {at}") for at in range(MAX_APPS)]
        with pytest.raises(AccountRefused) as refused:
            await accounts.app_passwords.add(bob.user_id, "one more")
        assert refused.value.refusal is AccountRefusal.TOO_MANY_APP_PASSWORDS
        first = (await accounts.app_passwords.of(bob.user_id))[0]
        await accounts.log_out(bob.user_id, [first.device_id])
        secrets.append(await accounts.app_passwords.add(bob.user_id, "one more"))
        good = [await _good(at, secret) for secret in secrets]
        assert (len(set(secrets)), good.count(True), good[-1]) == (MAX_APPS + 1, MAX_APPS, True)

    async def _good(at: World, secret: str) -> bool:
        try:
            let_in = await at.app.middle.accounts.check_login("bob", secret, address="203.0.113.9")
        except AccountRefused:
            return False
        return let_in.device_id is not None

    play(tmp_path / "data", story)
