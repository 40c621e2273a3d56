"""Well-formed nonsense: any mixture of names, types, addresses and payloads gets the protocol's own answers.

spec: RFC6120 8.3, 10; no handler may fail, no stream may end, every request is answered exactly once.
"""

import asyncio
import random

import pytest

import tripoint.xmpp.c2s
import tripoint.xmpp.muc  # noqa: F401
from tests.xmpp.server import SERVER, TestServer, serve
from tripoint.xmpp.registry import IQS, At
from tripoint.xmpp.wire import Element, render

ROOM = f"tea@rooms.{SERVER}"
TO = (
    None,
    "",
    SERVER,
    f"{SERVER}/x",
    f"alice@{SERVER}",
    f"alice@{SERVER}/r",
    f"alice@{SERVER}/none",
    f"bob@{SERVER}",
    f"bob@{SERVER}/r",
    f"nobody@{SERVER}",
    f"rooms.{SERVER}",
    f"rooms.{SERVER}/x",
    ROOM,
    f"{ROOM}/alice",
    f"{ROOM}/bob",
    f"{ROOM}/no body",
    f"new@rooms.{SERVER}/alice",
    f"!abc@rooms.{SERVER}",
    f"!mfrgg@rooms.{SERVER}/alice",
    f"a%b@rooms.{SERVER}/x",
    f"x%remote.org@matrix.{SERVER}",
    f"matrix.{SERVER}",
    "other.example",
    "a@b@c",
    "\u202e@x",
    "@",
)
TYPES = {
    "iq": ("get", "set", "result", "error", None, "odd"),
    "message": ("chat", "groupchat", "normal", "headline", "error", None, "odd"),
    "presence": (
        None,
        "unavailable",
        "subscribe",
        "subscribed",
        "unsubscribe",
        "unsubscribed",
        "probe",
        "error",
        "odd",
    ),
}
PAYLOADS = (
    ("query", "jabber:iq:roster"),
    ("query", "jabber:iq:register"),
    ("query", "jabber:iq:version"),
    ("query", "http://jabber.org/protocol/disco#info"),
    ("query", "http://jabber.org/protocol/disco#items"),
    ("query", "http://jabber.org/protocol/muc#admin"),
    ("query", "http://jabber.org/protocol/muc#owner"),
    ("ping", "urn:xmpp:ping"),
    ("bind", "urn:ietf:params:xml:ns:xmpp-bind"),
    ("x", "http://jabber.org/protocol/muc"),
    ("x", "http://jabber.org/protocol/muc#user"),
    ("x", "jabber:x:data"),
    ("x", "jabber:x:conference"),
    ("body", "jabber:client"),
    ("subject", "jabber:client"),
    ("show", "jabber:client"),
    ("priority", "jabber:client"),
    ("thread", "jabber:client"),
    ("composing", "http://jabber.org/protocol/chatstates"),
    ("html", "http://jabber.org/protocol/xhtml-im"),
    ("set", "http://jabber.org/protocol/rsm"),
    ("thing", "urn:odd"),
)
INNER = (
    "item",
    "field",
    "value",
    "invite",
    "decline",
    "reason",
    "history",
    "destroy",
    "username",
    "password",
    "max",
    "after",
    "before",
    "group",
    "body",
    "x",
    "set",
)
ATTRIBUTES = (
    "jid",
    "nick",
    "role",
    "affiliation",
    "to",
    "var",
    "type",
    "node",
    "maxstanzas",
    "seconds",
    "since",
    "subscription",
    "id",
)
VALUES = (
    "",
    "alice",
    "bob",
    f"bob@{SERVER}",
    f"carol@{SERVER}",
    "owner",
    "admin",
    "member",
    "none",
    "outcast",
    "moderator",
    "visitor",
    "submit",
    "cancel",
    "form",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "2002-10-13T23:58:37Z",
    "0000-00-00",
    "remove",
    "both",
    "x-roomuser-item",
    "\u202e\u0000",
    "🐈",
    "a@b@c",
    "muc#roomconfig_membersonly",
    "muc#roomconfig_roomname",
    "https://tripoint.dev/ns#history_visibility",
)


def payload(dice: random.Random, depth: int = 0) -> Element:
    name, namespace = dice.choice(PAYLOADS)
    if depth:
        name = dice.choice(INNER)
    attributes = {dice.choice(ATTRIBUTES): dice.choice(VALUES) for _ in range(dice.randrange(3))}
    children: list = [dice.choice(VALUES)] if dice.random() < 0.5 else []
    if depth < 3:
        for _ in range(dice.randrange(3)):
            child = payload(dice, depth + 1)
            child.namespace = namespace if dice.random() < 0.7 else child.namespace
            children.append(child)
    return Element(name, namespace, attributes, children)


PLACES = {
    At.SERVER: (SERVER,),
    At.ACCOUNT: (None, f"alice@{SERVER}"),
    At.USER: (f"bob@{SERVER}", f"bob@{SERVER}/r"),
    At.ROOMS: (f"rooms.{SERVER}",),
    At.ROOM: (ROOM,),
    At.OCCUPANT: (f"{ROOM}/alice", f"{ROOM}/bob"),
    At.GATEWAY: (f"matrix.{SERVER}",),
    At.REMOTE: (f"bob%remote.org@matrix.{SERVER}", f"~abc@matrix.{SERVER}/r"),
}


def request(dice: random.Random, number: int) -> Element:
    """An IQ that somebody answers, with odd things in it."""
    kind, namespace, name, place = dice.choice(sorted(IQS, key=str))
    inside = payload(dice, 1)
    inside.namespace = namespace if dice.random() < 0.8 else inside.namespace
    if dice.random() < 0.7 and name == "query":
        inside = likely(dice, namespace)
    children = [inside] if dice.random() < 0.8 else []
    to = dice.choice(PLACES[place])
    attributes = {"id": f"n{number}", "type": kind} | ({} if to is None else {"to": to})
    return Element("iq", "jabber:client", attributes, [Element(name, namespace, {}, children)])


def likely(dice: random.Random, namespace: str) -> Element:
    """What such a request usually holds, so that it gets further."""
    if namespace.endswith("#owner"):
        fields = [
            Element(
                "field",
                "jabber:x:data",
                {"var": dice.choice(VALUES)},
                [Element("value", "jabber:x:data", {}, [dice.choice(VALUES)])],
            )
            for _ in range(3)
        ]
        return Element("x", "jabber:x:data", {"type": dice.choice(("submit", "submit", "cancel", "form"))}, fields)
    whom = dice.choice(({"nick": "bob"}, {"nick": "alice"}, {"jid": f"bob@{SERVER}"}, {"jid": dice.choice(VALUES)}, {}))
    what = dice.choice(
        ({"role": dice.choice(VALUES)}, {"affiliation": dice.choice(VALUES)}, {"name": dice.choice(VALUES)})
    )
    return Element("item", namespace, whom | what)


def talk(dice: random.Random, number: int) -> Element:
    """Something said in the room, with odd things beside it."""
    words = Element(dice.choice(("body", "body", "subject")), "jabber:client", {}, [dice.choice(VALUES)])
    attributes = {"to": ROOM, "type": "groupchat", "id": f"n{number}"}
    return Element("message", "jabber:client", attributes, [words, payload(dice)])


def entry(number: int) -> Element:
    """Into the room again, for what needs somebody inside."""
    x = Element("x", "http://jabber.org/protocol/muc")
    return Element("presence", "jabber:client", {"to": f"{ROOM}/alice", "id": f"n{number}"}, [x])


def stanza(dice: random.Random, number: int) -> Element:
    if dice.random() < 0.5:
        return request(dice, number)
    if dice.random() < 0.2:
        return entry(number)
    if dice.random() < 0.2:
        return talk(dice, number)
    name = dice.choice(("iq", "iq", "message", "presence"))
    attributes = {"id": f"n{number}"} if dice.random() < 0.95 else {}
    for key, choices in (("to", TO), ("type", TYPES[name])):
        value = dice.choice(choices)
        if value is not None:
            attributes[key] = value
    return Element(name, "jabber:client", attributes, [payload(dice) for _ in range(dice.choice((0, 1, 1, 1, 2)))])


async def play(server: TestServer, seed: int) -> None:
    dice = random.Random(seed)
    alice, bob = await server.online("alice"), await server.online("bob")
    await alice.join(ROOM, "alice")
    sent: dict[str, Element] = {}
    answers: list[Element] = []
    for number in range(150):
        odd = stanza(dice, number)
        if "<remove" in render(odd).decode():
            continue  # ends the account: tested elsewhere
        sender = alice if dice.random() < 0.8 else bob
        if sender is alice and odd.name == "iq" and odd.get("type") in ("get", "set") and odd.get("id"):
            sent[odd.get("id")] = odd
        sender.send_bytes(render(odd))
    for client, end in ((bob, "end"), (alice, "end"), (alice, "later")):
        if end == "later":
            await server.front.settled()  # what was asked of other servers is answered behind everything else
        client.send(f"<iq type='get' id='{end}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        while True:
            try:
                got = await client.stanza()
            except EOFError:
                raise AssertionError(f"seed {seed}: the stream has ended") from None
            text = render(got).decode()
            assert "internal-server-error" not in text, f"seed {seed}: {text}"
            assert not text.startswith("<stream:error"), f"seed {seed}: {text}"
            if got.get("id") == end:
                break
            if client is alice and got.name == "iq" and got.get("type") in ("result", "error"):
                answers.append(got)
    ids = [answer.get("id") for answer in answers if answer.get("id") in sent]
    relayed = {i for i, odd in sent.items() if (odd.get("to") or "").endswith(("/r",))}
    assert len(ids) == len(set(ids)), f"seed {seed}: answered twice"
    missing = set(sent) - set(ids) - relayed
    assert not missing, f"seed {seed}: never answered {[render(sent[i]) for i in missing]}"


@pytest.mark.parametrize("seed", range(15))
def test_odd_stanzas(seed):
    async def main() -> None:
        async with serve() as server:
            await play(server, seed)

    asyncio.run(main())


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_odd_stanzas_long(seed):
    async def main() -> None:
        async with serve() as server:
            await play(server, seed)

    asyncio.run(main())
