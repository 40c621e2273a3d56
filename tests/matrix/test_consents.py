"""Accounts that exist are asked for what there is to accept, where the operator wants that: clients are told of a page.

No errcode of the specification says so: they are told as by other servers, M_CONSENT_NOT_GIVEN with `consent_uri`.
"""

from typing import Any

import orjson

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.test_accounts import post
from tests.matrix.test_terms import accepted, reload
from tests.oauth.browser import logged_in
from tests.support.middle import make_config, run
from tests.support.terms import ACCEPTED, NEWER, TERMS

PAGE = "/account?action=terms"
SAID = {"msgtype": "m.text", "body": "hi"}


async def refused(client: Client, method: str, path: str, body: Any) -> dict[str, Any]:
    response = await client.server.request(method, f"/_matrix/client/v3{path}", body, token=client.token)
    answer: dict[str, Any] = orjson.loads(response.body)
    assert (response.status, answer["errcode"]) == (403, "M_CONSENT_NOT_GIVEN"), answer
    return answer


async def tick(server: Server, name: str) -> None:
    browser = await logged_in(server, name)
    await browser.open(PAGE)
    await browser.send("terms")
    assert "There is nothing left to accept." in browser.page


def test_who_has_not_accepted_reads_and_leaves_until_then() -> None:
    async def work() -> None:
        async with matrix(make_config(terms_for_all=True, matrix_guests=True)) as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            guests = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}
            room_id = await alice.create(preset="public_chat", initial_state=[guests])
            await bob.join(room_id)
            reload(server, terms=TERMS, terms_for_all=True, matrix_guests=True)
            send = f"/rooms/{q(room_id)}/send/m.room.message/1"
            answer = await refused(alice, "PUT", send, SAID)
            assert answer["consent_uri"] == f"https://chat.example.org{PAGE}"
            assert "Terms of Service (https://example.org/somewhere/terms-1.2-en.html)" in answer["error"]
            await refused(alice, "POST", "/createRoom", {})
            await refused(alice, "POST", f"/rooms/{q(room_id)}/invite", {"user_id": bob.user_id})
            await alice.call("GET", f"/rooms/{q(room_id)}/messages", dir="b")
            await alice.sync()
            await bob.call("POST", f"/rooms/{q(room_id)}/leave", {})
            await refused(bob, "POST", f"/join/{q(room_id)}", {})
            # Guests have no account to accept anything with.
            _, made = await post(server, "/register", {}, kind="guest")
            guest = Client(server, made)
            await guest.join(room_id)
            await guest.say(room_id, "hello")
            # Who accepts some has not accepted all.
            browser = await logged_in(server, "alice")
            await browser.open("/account")
            assert "To read and accept" in browser.page
            await browser.open(PAGE)
            await browser.send("terms", **{"terms.privacy": ""})
            assert browser.status == 400 and "Tick every box" in browser.page
            await refused(alice, "PUT", send, SAID)
            await browser.send("terms")
            assert "There is nothing left to accept." in browser.page
            assert await accepted(server, alice.user_id) == ACCEPTED
            await alice.call("PUT", send, SAID)
            await browser.open("/account")
            assert "To read and accept" not in browser.page
            # A newer version of one of them is asked for by itself.
            reload(server, terms=NEWER, terms_for_all=True)
            await refused(alice, "PUT", send.replace("/1", "/2"), SAID)
            await browser.open(PAGE)
            assert "Privacy" not in browser.page
            await tick(server, "alice")
            await alice.call("PUT", send.replace("/1", "/2"), SAID)
            # What was accepted once is accepted, should it come back.
            reload(server, terms=TERMS, terms_for_all=True)
            await alice.call("PUT", send.replace("/1", "/3"), SAID)

    run(work)


def test_nobody_is_asked_who_made_the_account_before_unless_the_operator_wants_it() -> None:
    async def work() -> None:
        async with matrix(make_config()) as server:
            alice = await server.register("alice")
            room_id = await alice.create()
            reload(server, terms=TERMS)
            await alice.say(room_id, "hi")
            browser = await logged_in(server, "alice")
            await browser.open(PAGE)
            assert "To read and accept" not in browser.page

    run(work)
