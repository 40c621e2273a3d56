"""One account, every way in: which mechanisms let it in on which protocol, and what is said to who is not let in.

spec: docs/mapping.md 18
"""

# rows: 18 Login, 18.2

import hashlib
import hmac
import re
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from tests.cross.logins import SASL2, Scram, Talk, b64, mechanisms, on_irc, on_xmpp, open_stream
from tests.cross.world import PASSWORD, SERVER, World, world
from tests.net.client_certificates import made_client
from tests.support.middle import run
from tripoint.accounts.administration import ImportedAccount
from tripoint.core.ids import UserId
from tripoint.runtime.reload import waiting_for_restart

ALICE = UserId(f"@alice:{SERVER}")
WRONG = "incorrect-horse"


async def _on_matrix(at: World, password: str, name: str = "alice") -> tuple[int, str]:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    status, answer = await at.http("POST", "/login", body, None, "")
    return status, str(answer.get("access_token") or answer["errcode"])


async def _sessions(at: World) -> list[str]:
    return sorted(device.protocol for device in await at.app.middle.accounts.devices(ALICE))


def test_every_way_in(tmp_path: Path) -> None:
    """`m.login.password`; SASL on IRC and XMPP; PASS; NS IDENTIFY; FAST: each is a session of the one account."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            accounts = at.app.middle.accounts
            await accounts.register("alice", PASSWORD, address="127.0.0.1")
            status, token = await _on_matrix(at, PASSWORD)
            assert status == 200
            certificate, fingerprint = made_client(tmp_path, "alice")
            await accounts.certificates.add(ALICE, fingerprint, shown=True)

            for mechanism, respond in mechanisms("alice", PASSWORD, token).items():
                if mechanism != "SCRAM-SHA-1":  # for old XMPP clients
                    talk, said = await on_irc(at, mechanism, respond, certificate)
                    assert said == "903", mechanism
                    talk.send("CAP END\r\nWHOIS alice\r\n")
                    await talk.until(r" 330 alice alice alice ")
                    talk.close()
            for mechanism, respond in mechanisms("alice", PASSWORD, token).items():
                talk, said = await on_xmpp(at, mechanism, respond, certificate)
                assert said == "success", mechanism
                open_stream(talk)
                talk.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
                await talk.until(f"<jid>alice@{SERVER}/")
                talk.close()

            # On IRC a password also stands before everything, or is told to NickServ.
            before = await Talk.open(at, "irc_tls")
            before.send(f"PASS :alice:{PASSWORD}\r\nNICK x\r\nUSER x 0 * :x\r\n")
            await before.until(r" 900 \S+ \S+ alice ")
            later = await Talk.open(at, "irc_tls")
            later.send("NICK visitor\r\nUSER visitor 0 * :v\r\n")
            await later.until(" 376 ")
            later.send(f"NS IDENTIFY alice {PASSWORD}\r\n")
            await later.until(r" 900 \S+ \S+ alice ")

            # On XMPP a client comes back with a token of its own. spec: XEP-0484 3.2, XEP-0388
            async def fast(inside: str) -> Talk:
                talk = await Talk.open(at, "xmpp_tls")
                open_stream(talk)
                features = await talk.until(r"<authentication .*</stream:features>")
                assert "<mechanism>HT-SHA-256-NONE</mechanism>" in features[0]
                assert "<channel-binding type='tls-exporter'/>" in features[0]
                talk.send(inside)
                return talk

            agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
            wish = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
            plain = b64(f"\0alice\0{PASSWORD}".encode())
            talk = await fast(
                f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>{plain}</initial-response>"
                f"{agent}{wish}</authenticate>"
            )
            fast_token = (await talk.until(r"token='([^']+)'"))[1]
            talk.close()
            digest = hmac.digest(fast_token.encode(), b"Initiator", "sha256")
            talk = await fast(
                f"<authenticate xmlns='{SASL2}' mechanism='HT-SHA-256-NONE'><initial-response>"
                f"{b64(b'alice' + bytes(1) + digest)}</initial-response>{agent}<fast xmlns='urn:xmpp:fast:0'/>"
                "</authenticate>"
            )
            await talk.until(f"<authorization-identifier>alice@{SERVER}")
            kinds = await _sessions(at)
            assert {"irc", "matrix", "xmpp"} == set(kinds)

    run(work)


def test_nobody_else_comes_in(tmp_path: Path) -> None:
    """The same for a wrong password and for an account that is not there."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            await at.app.middle.accounts.register("alice", PASSWORD, address="127.0.0.1")
            stranger, _ = made_client(tmp_path, "stranger")
            for name in ("alice", "nobody"):
                assert await _on_matrix(at, WRONG, name) == (403, "M_FORBIDDEN")
                for mechanism in ("SCRAM-SHA-256", "PLAIN"):
                    assert (await on_irc(at, mechanism, mechanisms(name, WRONG, "")[mechanism]))[1] == "904"
                    assert (await on_xmpp(at, mechanism, mechanisms(name, WRONG, "")[mechanism]))[1] == "not-authorized"
            for mechanism in ("EXTERNAL", "OAUTHBEARER"):
                assert (await on_irc(at, mechanism, mechanisms("", "", "no")[mechanism], stranger))[1] == "904"
                said = (await on_xmpp(at, mechanism, mechanisms("", "", "no")[mechanism], stranger))[1]
                assert said == "not-authorized"
            assert await _sessions(at) == []

    run(work)


@pytest.mark.parametrize("first", ["matrix", "irc", "xmpp"])
def test_a_hash_of_another_server_s(first: str, tmp_path: Path) -> None:
    """Clear text fits it, on any protocol; from then on there are the forms of here. Until then SCRAM fails."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            accounts = at.app.middle.accounts
            hash = bcrypt.hashpw(b"tea at five" + b"pepper", bcrypt.gensalt(4)).decode()
            await accounts.administration.take_in(ImportedAccount("alice", hash, "pepper", displayname="Alice A."))
            assert await accounts.has_password(ALICE)
            ways = mechanisms("alice", "tea at five", "")
            assert (await on_irc(at, "SCRAM-SHA-256", Scram("alice", "tea at five", "sha256")))[1] == "904"
            assert (await on_xmpp(at, "SCRAM-SHA-1", Scram("alice", "tea at five", "sha1")))[1] == "not-authorized"
            assert await _on_matrix(at, "tea at six") == (403, "M_FORBIDDEN")
            if first == "matrix":
                assert (await _on_matrix(at, "tea at five"))[0] == 200
            elif first == "irc":
                assert (await on_irc(at, "PLAIN", ways["PLAIN"]))[1] == "903"
            else:
                assert (await on_xmpp(at, "PLAIN", ways["PLAIN"]))[1] == "success"
            assert (await on_irc(at, "SCRAM-SHA-256", Scram("alice", "tea at five", "sha256")))[1] == "903"
            assert (await on_xmpp(at, "SCRAM-SHA-1", Scram("alice", "tea at five", "sha1")))[1] == "success"
            assert (await _on_matrix(at, "tea at five"))[0] == 200
            assert (await accounts.profile(ALICE))["displayname"] == "Alice A."

    run(work)


def test_a_form_of_scram_serves_at_once(tmp_path: Path) -> None:
    """What Prosody and ejabberd keep: SCRAM-SHA-1 clients come in as before; clear text makes the better form."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            salt = b"salt" * 4
            salted = hashlib.pbkdf2_hmac("sha1", b"tea at five", salt, 10_000)
            stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).digest()
            server_key = hmac.digest(salted, b"Server Key", "sha1")
            text = f"SCRAM-SHA-1$10000:{b64(salt)}${b64(stored)}:{b64(server_key)}"
            await at.app.middle.accounts.administration.take_in(ImportedAccount("alice", text))
            assert (await on_xmpp(at, "SCRAM-SHA-1", Scram("alice", "tea at five", "sha1")))[1] == "success"
            assert (await on_irc(at, "SCRAM-SHA-256", Scram("alice", "tea at five", "sha256")))[1] == "904"
            assert (await _on_matrix(at, "tea at five"))[0] == 200
            assert (await on_irc(at, "SCRAM-SHA-256", Scram("alice", "tea at five", "sha256")))[1] == "903"

    run(work)


def test_a_new_password_ends_the_hash_of_before(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            accounts = at.app.middle.accounts
            hash = bcrypt.hashpw(b"tea at five", bcrypt.gensalt(4)).decode()
            await accounts.administration.take_in(ImportedAccount("alice", hash))
            await accounts.change_password(ALICE, PASSWORD, keep_device=None)
            assert await _on_matrix(at, "tea at five") == (403, "M_FORBIDDEN")
            assert (await _on_matrix(at, PASSWORD))[0] == 200

    run(work)


def test_while_accounts_move_in_clear_text_alone_is_asked_for(tmp_path: Path) -> None:
    """spec: docs/mapping.md 18.2 "offers PLAIN (over TLS) only"; not even loopback hears of SCRAM then"""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            config = replace(at.app.config, accounts=replace(at.app.config.accounts, migrating=True))
            assert not waiting_for_restart(at.app.config, config)
            await at.app.reload(config)
            talk = await Talk.open(at, "irc_tls")
            talk.send("CAP LS 302\r\n")
            assert (await talk.until(r" sasl=(\S+)"))[1] == "PLAIN,OAUTHBEARER"
            talk = await Talk.open(at, "xmpp_tls")
            open_stream(talk)
            features = (await talk.until("<stream:features>.*</stream:features>"))[0]
            first = features.partition("</mechanisms>")[0]
            assert re.findall("<mechanism>([^<]+)</mechanism>", first) == ["PLAIN", "OAUTHBEARER"]

    run(work)
