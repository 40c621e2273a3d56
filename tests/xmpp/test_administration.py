"""Running the server by commands, for administrators alone.  spec: XEP-0133"""

import asyncio
import base64
from collections.abc import Awaitable, Callable

from tests.xmpp.server import SERVER, Client, TestServer, serve
from tripoint.accounts.refusals import AccountRefused

NS = "http://jabber.org/protocol/admin"
COMMANDS = "http://jabber.org/protocol/commands"
Work = Callable[[TestServer, Client], Awaitable[None]]


def as_admin(work: Work) -> None:
    async def go() -> None:
        async with serve() as server:
            await server.middle.accounts.add_account("bard", "correct horse", admin=True)
            await work(server, await server.online("bard", "globe"))

    asyncio.run(go())


async def command(client: Client, name: str, **fields: str | list[str]) -> str:
    """The answer to a command, with a form where there are fields (two underscores for a hyphen)."""
    inside = f"<field type='hidden' var='FORM_TYPE'><value>{NS}</value></field>"
    for var, values in fields.items():
        several = [values] if isinstance(values, str) else values
        shown = "".join(f"<value>{value}</value>" for value in several)
        inside += f"<field var='{var.replace('__', '-')}'>{shown}</field>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{inside}</x>" if fields else ""
    return await client.ask(
        f"<iq type='set' to='{SERVER}' id='{name}'><command xmlns='{COMMANDS}' node='{NS}#{name}'>{form}</command></iq>"
    )


def test_commands_are_listed_for_administrators_alone_and_forbidden_to_others() -> None:
    """spec: XEP-0133 3, 5"""

    async def work(server: TestServer, bard: Client) -> None:
        items = (
            f"<iq type='get' to='{SERVER}' id='l'><query xmlns='http://jabber.org/protocol/disco#items' "
            f"node='{COMMANDS}'/></iq>"
        )
        names = ("add-user", "delete-user", "disable-user", "reenable-user", "end-user-session", "announce")
        listed = await bard.ask(items)
        assert all(f"node='{NS}#{name}'" in listed for name in names)
        alice = await server.online("alice")
        assert NS not in await alice.ask(items)
        for name in names:
            assert "<forbidden " in await command(alice, name)
        assert "<item-not-found " in await command(alice, "no-such-command")

    as_admin(work)


def test_an_account_is_added_gets_another_password_and_is_deleted() -> None:
    """spec: XEP-0133 4.1, 4.2, 4.7"""

    async def work(server: TestServer, bard: Client) -> None:
        asked = await command(bard, "add-user")
        assert "status='executing'" in asked
        assert f"<field type='hidden' var='FORM_TYPE'><value>{NS}</value></field>" in asked
        assert "<field var='accountjid' type='jid-single' label='Its address'><required/></field>" in asked
        who = f"juliet@{SERVER}"
        no = await command(bard, "add-user", accountjid=who, password="R0m30", password__verify="other")
        assert "type='modify'><not-acceptable " in no
        done = await command(bard, "add-user", accountjid=who, password="R0m30 mine", password__verify="R0m30 mine")
        assert "status='completed'" in done
        again = await command(bard, "add-user", accountjid=who, password="R0m30 mine", password__verify="R0m30 mine")
        assert "<conflict " in again
        check = server.middle.accounts.check_password
        assert (await check("juliet", "R0m30 mine", address="x")).admin is False
        assert "completed" in await command(bard, "change-user-password", accountjid=who, password="another one")
        await check("juliet", "another one", address="x")
        nobody = await command(bard, "change-user-password", accountjid=f"nobody@{SERVER}", password="another one")
        assert "<item-not-found " in nobody
        elsewhere = await command(bard, "delete-user", accountjids="juliet@capulet.example")
        assert "<not-acceptable " in elsewhere
        assert "<conflict " in await command(bard, "delete-user", accountjids=[who, f"bard@{SERVER}"])
        await check("juliet", "another one", address="x")
        assert "completed" in await command(bard, "delete-user", accountjids=who)
        try:
            await check("juliet", "another one", address="x")
        except AccountRefused:
            return
        raise AssertionError("the account is still there")

    as_admin(work)


def test_a_disabled_account_is_put_out_and_let_in_again() -> None:
    """spec: XEP-0133 4.3, 4.4"""

    async def work(server: TestServer, bard: Client) -> None:
        juliet = await server.online("juliet")
        assert "completed" in await command(bard, "disable-user", accountjids=f"juliet@{SERVER}")
        await juliet.lost()
        client = await server.connect()
        await client.open()
        token = base64.b64encode(b"\0juliet\0correct horse").decode()
        client.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
        assert "<account-disabled/>" in await client.xml()
        assert "completed" in await command(bard, "reenable-user", accountjids=f"juliet@{SERVER}")
        await server.online("juliet")
        assert "<conflict " in await command(bard, "disable-user", accountjids=f"bard@{SERVER}")

    as_admin(work)


def test_sessions_end_one_or_all() -> None:
    """spec: XEP-0133 4.5: a full JID is one session, a bare one all of them"""

    async def work(server: TestServer, bard: Client) -> None:
        one, two, three = [await server.online("juliet", resource) for resource in ("a", "b", "c")]
        assert ">1 ended<" in await command(bard, "end-user-session", accountjids=f"juliet@{SERVER}/a")
        await one.lost()
        await two.skip()
        assert ">2 ended<" in await command(bard, "end-user-session", accountjids=f"juliet@{SERVER}")
        await two.lost()
        await three.lost()

    as_admin(work)


def test_who_is_here_and_what_is_announced() -> None:
    """spec: XEP-0133 4.9, 4.15, 4.20, 4.23"""

    async def work(server: TestServer, bard: Client) -> None:
        juliet = await server.online("juliet")
        count = await command(bard, "get-online-users-num")
        assert "<field var='onlineusersnum' type='text-single'><value>2</value></field>" in count
        assert "<option label='25'><value>25</value></option>" in await command(bard, "get-online-users-list")
        listed = await command(bard, "get-online-users-list", max_items="1")
        assert f"<value>bard@{SERVER}</value></field></x>" in listed
        assert "<not-acceptable " in await command(bard, "get-online-users-list", max_items="all")
        last = await command(bard, "get-user-lastlogin", accountjids=f"juliet@{SERVER}")
        assert f"<value>juliet@{SERVER}</value></field><field var='lastlogin' type='text-single'><value>20" in last
        assert "<not-acceptable " in await command(bard, "announce", announcement=" ")
        assert "completed" in await command(bard, "announce", announcement=["The server rests", "at noon"])
        told = await juliet.xml()
        assert told.startswith(f"<message from='{SERVER}' type='headline' to='juliet@{SERVER}/r'>")
        assert "<body>The server rests\nat noon</body>" in told

    as_admin(work)


def test_lists_and_numbers_of_accounts() -> None:
    """spec: XEP-0133 4.13-4.22: all, those that are locked, those who are here, and away or not"""

    async def work(server: TestServer, bard: Client) -> None:
        alice = await server.online("alice")
        await server.make_account("carol")
        await server.make_account("dave")
        accounts = server.middle.accounts
        await accounts.set_locked(accounts.user_id("dave"), True)
        await accounts.create_guest("visitor", address="192.0.2.1")
        alice.send("<presence><show>xa</show></presence>")
        await alice.skip()
        everybody = [f"{name}@{SERVER}" for name in ("alice", "bard", "carol", "dave")]
        for kind, wanted in (
            ("registered", everybody),
            ("disabled", everybody[3:]),
            ("online", everybody[:2]),
            ("active", everybody[1:2]),
            ("idle", everybody[:1]),
        ):
            number = await command(bard, f"get-{kind}-users-num")
            assert f"<field var='{kind}usersnum' type='text-single'><value>{len(wanted)}</value></field>" in number
            listed = await command(bard, f"get-{kind}-users-list", max_items="none")
            inside = "".join(f"<value>{jid}</value>" for jid in wanted)
            assert f"<field var='{kind}userjids' type='jid-multi'>{inside}</field>" in listed, listed
            assert "status='executing'" in await command(bard, f"get-{kind}-users-list")
        one = await command(bard, "get-registered-users-list", max_items="1")
        assert one.count("<value>") == 2 and everybody[0] in one
        assert "<not-acceptable " in await command(bard, "get-registered-users-list", max_items="all")
        assert "<forbidden " in await command(alice, "get-registered-users-num")

    as_admin(work)


def test_what_somebody_is_about() -> None:
    """spec: XEP-0133 4.8, 4.10"""

    async def work(server: TestServer, bard: Client) -> None:
        alice = await server.online("alice", "work")
        item = f"<item jid='bard@{SERVER}' name='The Bard'/>"
        await alice.ask(f"<iq type='set' id='r'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
        who = f"alice@{SERVER}"
        roster = await command(bard, "get-user-roster", accountjids=who)
        shown = f"<item jid='bard@{SERVER}' subscription='none' name='The Bard'/>"
        assert f"<query xmlns='jabber:iq:roster'>{shown}</query>" in roster
        told = await command(bard, "user-stats", accountjid=who)
        for var, value in (("ipaddresses", "127.0.0.1"), ("rostersize", "1"), ("onlineresources", "work")):
            assert f"<field var='{var}'" in told and f"<value>{value}</value>" in told
        for name, var in (("get-user-roster", "accountjids"), ("user-stats", "accountjid")):
            assert "status='executing'" in await command(bard, name)
            assert "<item-not-found " in await command(bard, name, **{var: f"nobody@{SERVER}"})

    as_admin(work)
