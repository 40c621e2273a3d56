"""An administrator's account is enough to ask OperServ from XMPP and over HTTP.  docs/mapping.md 18.1, 18.4"""

from dataclasses import replace
from pathlib import Path

import orjson

from tests.cross.world import PASSWORD, XmppPerson, world
from tests.support.middle import run
from tripoint.irc.operators import Operator, Privilege

COMMANDS = "xmlns='http://jabber.org/protocol/commands'"


def test_what_operators_do_is_asked_for_from_elsewhere(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            accounts = at.app.middle.accounts
            await accounts.add_account("ada", PASSWORD, admin=True)
            await accounts.register("bob", PASSWORD, address="127.0.0.1")
            ada = await at.person("ada", "xmpp", "account", [])
            assert isinstance(ada, XmppPerson)
            node = "https://tripoint.dev/ns#service/operserv/suspend"
            form = "<x xmlns='jabber:x:data' type='submit'><field var='words'><value>bob</value></field></x>"
            command = f"<command {COMMANDS} node='{node}'>{form}</command>"
            await ada.send(f"<iq type='set' id='1' to='example.org'>{command}</iq>")
            assert "<note type='info'>bob is suspended</note>" in await ada.next()
            assert accounts.is_suspended(accounts.user_id("bob"))
            log_in = {"type": "m.login.password", "user": "ada", "password": PASSWORD}
            status, body = await at.http("POST", "/login", log_in, None, "")
            assert status == 200
            headers = {"authorization": f"Bearer {body['access_token']}"}
            path = "/_matrix/client/unstable/dev.tripoint/services/operserv/suspend"
            status, _, answer = await at.web("POST", path, orjson.dumps({"words": "bob off"}), headers)
            assert (status, orjson.loads(answer)) == (200, {"lines": ["bob is not suspended any more"]})
            assert not accounts.is_suspended(accounts.user_id("bob"))

    run(work)


def test_what_the_configuration_says_of_an_administrator_counts_there_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            await at.app.middle.accounts.add_account("ada", PASSWORD, admin=True)
            network = at.app.irc.network
            helper = Operator("ada", frozenset({Privilege.KILL}))
            network.options = replace(network.options, operators=(helper,))
            ada = await at.person("ada", "xmpp", "account", [])
            for name, said in (("suspend", "<item-not-found "), ("kill", "status='executing'")):
                node = f"https://tripoint.dev/ns#service/operserv/{name}"
                await ada.send(f"<iq type='set' id='1' to='example.org'><command {COMMANDS} node='{node}'/></iq>")
                answer = await ada.next()
                assert said in answer, answer

    run(work)
