"""An evening in one room, as seven people with clients that nobody here wrote spend it.

wendy has weechat, iris irssi, petra profanity, cora converse.js, jess matrix-js-sdk, nina matrix-nio, sam slixmpp. They
come in, talk, call each other, correct themselves, react, send a picture, go away and come back, and read what was.
After each step everybody's own screen or state is looked at: what has happened is there, once, and nothing else.

One server and one room for the whole file: its tests are one story and run in their order.
spec: docs/mapping.md 2.10, 5, 11, 12, 14
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.interop.converse_peer import ConversePeer
from tests.interop.evening import ANY, Evening, an_evening
from tests.interop.js_peer import JsPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import Peer, all_see, becomes, marked
from tests.interop.screen_peers import IrssiPeer, ProfanityPeer, ScreenPeer, WeechatPeer
from tests.interop.test_media import addresses, fetched, picture

pytestmark = pytest.mark.interop

SCREENS = ("wendy", "iris", "petra")
IRC_1 = {"wendy": 1, "iris": 1}
CLIENTS = {
    "js": JsPeer,
    "converse": ConversePeer,
    "weechat": WeechatPeer,
    "irssi": IrssiPeer,
    "profanity": ProfanityPeer,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_client_is_installed(client: str) -> None:
    CLIENTS[client].check()


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    with an_evening(tmp_path_factory.mktemp("evening")) as here:
        yield here


def test_all_come_in(evening: Evening) -> None:
    async def story() -> None:
        await evening.nina.create()
        for peer in evening.everybody:
            await peer.join()
        accounts = {peer.account for peer in evening.everybody}
        for peer in evening.everybody:
            await becomes(peer, lambda peer: peer.people() in (None, accounts), f"among {accounts}")
        await evening.still()

    evening.runner.run(story())


def test_what_each_says_all_show_once(evening: Evening) -> None:
    texts = [f"says-{peer.account}-1" for peer in evening.everybody]

    async def story() -> None:
        async with evening.only(**dict.fromkeys(SCREENS, len(texts))):
            for peer, text in zip(evening.everybody, texts, strict=True):
                await peer.say(text)
                await all_see(evening.everybody, [text])

    evening.runner.run(story())
    for peer in evening.everybody:
        assert [one.text for one in peer.seen()] == texts, peer.account


def test_who_is_called_by_name_has_a_highlight(evening: Evening) -> None:
    """From each protocol: a name typed on IRC and XMPP, a pill from Matrix that has another text than the nick."""
    callers = [evening.nina, evening.sam, *evening.on_irc[:1]]

    async def story() -> None:
        for caller in callers:
            texts = {f"says-{caller.account}-{number}": called for number, called in enumerate(evening.everybody, 10)}
            async with evening.only(**dict.fromkeys(SCREENS, len(texts))):
                for text, called in texts.items():
                    if caller is evening.nina:
                        await _call(evening, called, text)
                    else:
                        await caller.say(f"{called.account}: {text}, more tea?")
                    await all_see(evening.everybody, [text])
            for text, called in texts.items():
                if called is not caller:
                    _is_highlighted_for(evening, called, text, of=caller.account)

    evening.runner.run(story())


async def _call(evening: Evening, called: Peer, text: str) -> None:
    user_id = evening.user_id(called)
    pill = f'<a href="https://matrix.to/#/{user_id}">my friend</a>'
    content = {
        "msgtype": "m.text",
        "body": f"my friend: {text}, more tea?",
        "format": "org.matrix.custom.html",
        "formatted_body": f"{pill}: {text}, more tea?",
        "m.mentions": {"user_ids": [user_id]},
    }
    await evening.nina.send("m.room.message", content)


def _is_highlighted_for(evening: Evening, called: Peer, text: str, of: str) -> None:
    """For whom is called, and for nobody else; on a screen the line looks otherwise than lines of that person do."""
    for screen in evening.screens:
        if screen.account != of:
            usual, looks = screen.looks(f"says-{of}-1"), screen.looks(text)
            assert (looks != usual) is (screen is called), f"{screen.account} {text}: {looks}, usually {usual}"
    if evening.jess is not None:
        assert evening.jess.shown(text)["highlights"] is (evening.jess is called), evening.jess.shown(text)
    if evening.cora is not None and of != "cora":
        assert evening.cora.shown(text)["highlighted"] is (evening.cora is called), evening.cora.shown(text)
    (content,) = (one["content"] for one in evening.nina.events if f"{text}," in one["content"].get("body", ""))
    assert content["m.mentions"]["user_ids"] == [evening.user_id(called)], content
    # sam's library has no highlights: what he is shown has his nick in it.
    if called is evening.sam:
        (stanza,) = (one for one in evening.sam.stanzas if f"{text}," in one)
        assert f"<body>sam: {text}" in stanza


def test_a_correction_is_seen_where_it_is_made(evening: Evening) -> None:
    """In place on Matrix, in profanity and in converse.js; on IRC, which has no corrections, as a line that says what
    has changed."""

    async def story() -> None:
        await _correct(evening, evening.nina, "nina", 20)
        if evening.jess is not None:
            await _correct(evening, evening.jess, "jess", 20)
        if evening.petra is not None:
            async with evening.only(petra=1, **IRC_1):
                await evening.petra.say("says-petra-20 and a slice of caek")
                await all_see(evening.everybody, ["says-petra-20"])
            async with evening.only(petra=1, **IRC_1):
                await evening.petra.correct("says-petra-20 and a slice of cake")
                await _all_have_corrected(evening, "petra", "caek", "cake", "says-petra-20")
        if evening.cora is not None:
            async with evening.only(**dict.fromkeys(SCREENS, 1)):
                await evening.cora.say("says-cora-20 and some mlik")
                await all_see(evening.everybody, ["says-cora-20"])
            async with evening.only(petra=1, **IRC_1):
                await evening.cora.correct("says-cora-20 and some milk")
                await _all_have_corrected(evening, "cora", "mlik", "milk", "says-cora-20")

    evening.runner.run(story())


async def _correct(evening: Evening, by: NioPeer | JsPeer, name: str, number: int) -> None:
    text = f"says-{name}-{number}"
    async with evening.only(**dict.fromkeys(SCREENS, 1)):
        await by.say(f"{text} with two lumps of suger")
        await all_see(evening.everybody, [text])
    # In profanity the line is another one then, where it was.
    async with evening.only(petra=1, **IRC_1):
        right = {"msgtype": "m.text", "body": f"{text} with two lumps of sugar"}
        relation = {"rel_type": "m.replace", "event_id": evening.msgid(text)}
        content = {"msgtype": "m.text", "body": f"* {right['body']}", "m.new_content": right, "m.relates_to": relation}
        await by.send("m.room.message", content)
        await _all_have_corrected(evening, name, "suger", "sugar", text)


async def _all_have_corrected(evening: Evening, name: str, wrong: str, right: str, text: str) -> None:
    said = f"* {text} "
    for screen in evening.on_irc:
        await becomes(screen, lambda one: any(said in line for line in one.lines()), said)
        (line,) = (line for line in screen.lines() if said in line)
        assert right in line and name in line.partition(said)[0], line
    if evening.petra is not None:
        petra = evening.petra
        await becomes(petra, lambda one: right in one.line(text), f"corrected: {text}")
        assert wrong not in petra.line(text), petra.terminal.shown()
    if evening.jess is not None:
        jess = evening.jess
        await becomes(jess, lambda one: one.shown(text)["edited"], f"corrected: {jess.shown(text)}")
        assert right in jess.shown(text)["body"] and wrong not in jess.shown(text)["body"]
    if evening.cora is not None:
        cora = evening.cora
        await becomes(cora, lambda one: one.shown(text)["edited"], f"corrected: {cora.shown(text)}")
        assert right in cora.shown(text)["text"] and wrong not in cora.shown(text)["text"]
    original, by = evening.msgid(text), f"@{name}:{evening.server.name}"
    await becomes(evening.nina, lambda one: _edits(one, original), f"shown the edit of {text}")
    (edit,) = _edits(evening.nina, original)
    assert edit["sender"] == by and right in edit["content"]["m.new_content"]["body"]
    (stanza,) = (one for one in evening.sam.stanzas if "urn:xmpp:message-correct:0" in one and text in one)
    assert right in stanza


def _edits(nina: NioPeer, event_id: str) -> list[dict[str, Any]]:
    wanted = {"rel_type": "m.replace", "event_id": event_id}
    return [one for one in nina.events if one["content"].get("m.relates_to") == wanted]


def test_a_reaction_is_seen_where_there_are_reactions(evening: Evening) -> None:
    """Below the message on Matrix and for XMPP; clients that show none are not disturbed."""
    about = "says-nina-1"
    msgid = evening.msgid(about)

    async def story() -> None:
        async with evening.only():
            await evening.nina.send("m.reaction", _reaction(msgid, "🍰"))
            want = {"🍰": [evening.user_id(evening.nina)]}
            if evening.jess is not None:
                jess = evening.jess
                await becomes(jess, lambda one: one.shown(about)["reactions"] == want, f"{want}: {jess.timeline}")
                await jess.send("m.reaction", _reaction(msgid, "🫖"))
                await becomes(evening.nina, lambda one: _has_reaction(one, evening.user_id(jess), "🫖"), "shown it")
            await becomes(evening.sam, lambda one: any("🍰" in stanza for stanza in one.stanzas), "shown it")
            if evening.cora is not None:
                cora = evening.cora
                await becomes(cora, lambda one: "🍰" in str(one.shown(about)["reactions"]), "shown it")
                await cora.react(about, "👍")
                by = evening.user_id(cora)
                await becomes(evening.nina, lambda one: _has_reaction(one, by, "👍"), "shown hers")

    evening.runner.run(story())
    (stanza,) = (one for one in evening.sam.stanzas if "🍰" in one)
    assert f'<reactions xmlns="urn:xmpp:reactions:0" id="{msgid}"><reaction>🍰</reaction></reactions>' in stanza


def _reaction(event_id: str, key: str) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}


def _has_reaction(nina: NioPeer, sender: str, key: str) -> bool:
    found = [one for one in nina.events if one["type"] == "m.reaction" and one["sender"] == sender]
    return [one["content"]["m.relates_to"]["key"] for one in found] == [key]


def test_a_picture_is_an_address_where_there_are_no_pictures(evening: Evening) -> None:
    data = picture((120, 60, 0))

    async def story() -> None:
        async with evening.only(**dict.fromkeys(SCREENS, 1)):
            uri = await evening.nina.upload(data, "image/png", "cake.png")
            info = {"mimetype": "image/png", "size": len(data), "w": 200, "h": 200}
            content = {"msgtype": "m.image", "body": "cake.png", "url": uri, "info": info}
            event_id = await evening.nina.send("m.room.message", content)
            for screen in evening.screens:
                await becomes(screen, lambda one: addresses(one.lines()), "shown an address")
            await becomes(evening.sam, lambda one: addresses(one.stanzas), "shown an address")
        shown = {address for screen in evening.screens for address in addresses(screen.lines())}
        for address in shown | set(addresses(evening.sam.stanzas)):
            assert await fetched(address) == (200, data)
        if evening.cora is not None:
            await becomes(evening.cora, lambda one: one.pictures(), "shown the picture")
        if evening.jess is not None:
            jess = evening.jess
            await becomes(jess, lambda one: any(event["id"] == event_id for event in one.timeline), "shown it")

    evening.runner.run(story())


def test_who_was_away_finds_what_was_said_and_nobody_else_notices(evening: Evening) -> None:
    """A client that ends its connection is still in the room: nothing is shown to others, and nothing is lost."""

    async def story() -> None:
        for number, screen in enumerate(evening.screens, 30):
            missed = [f"says-nina-{number}", f"says-sam-{number}", f"says-jess-{number}"][: 3 if evening.jess else 2]
            had = Counter(screen.lines())
            counts = {one.account: len(missed) for one in evening.screens} | {screen.account: ANY}
            async with evening.only(**counts):
                await screen.go_away()
                await evening.still()
                await _say_without(evening, screen, missed)
                await screen.come_back()
                await all_see([screen], missed)
            if screen is evening.petra:
                # Another window, with the newest twenty.
                assert [one.text for one in screen.seen()][-len(missed) :] == missed, screen.terminal.shown()
            else:
                new = [text for line in (Counter(screen.lines()) - had).elements() for text in marked(line)]
                assert new == missed, f"{screen.account}: {new}\n{screen.terminal.shown()}"

    evening.runner.run(story())


async def _say_without(evening: Evening, absent: ScreenPeer, texts: list[str]) -> None:
    for peer, text in zip((evening.nina, evening.sam, evening.jess), texts, strict=False):
        assert peer is not None
        await peer.say(text)
        await all_see([one for one in evening.everybody if one is not absent], [text])


def test_who_leaves_is_seen_to_leave_and_to_return(evening: Evening) -> None:
    """Two lines for everybody who shows such; nothing of the room comes meanwhile to who is out of it."""

    async def story() -> None:
        for number, screen in enumerate(evening.on_irc, 40):
            meanwhile, after = [f"says-nina-{number}", f"says-sam-{number}"], f"says-{screen.account}-{number}"
            counts = {one.account: 2 + len(meanwhile) + 1 for one in evening.screens} | {screen.account: ANY}
            async with evening.only(**counts):
                await screen.leave()
                await becomes(evening.nina, partial(_has, screen.account, False), "without them")
                await _say_without(evening, screen, meanwhile)
                assert not {one.text for one in screen.seen()} & set(meanwhile), screen.terminal.shown()
                await screen.join()
                await becomes(evening.nina, partial(_has, screen.account, True), "with them again")
                await screen.say(after)
                await all_see(evening.everybody, [after])

    evening.runner.run(story())


def _has(account: str, here: bool, nina: NioPeer) -> bool:
    return (account in (nina.people() or ())) is here


def test_paging_back_shows_the_whole_evening_once(evening: Evening) -> None:
    """The same messages in the same order under the same ids: by Matrix with both libraries, by MAM on XMPP."""
    order = [(one.text, one.msgid) for one in evening.nina.seen()]

    async def story() -> None:
        events = await evening.nina.page_back()
        assert (events[-1].source["type"], len(events)) == ("m.room.create", len({one.event_id for one in events}))
        said = [one.source for one in reversed(events) if one.source["type"] == "m.room.message"]
        said = [one for one in said if "m.new_content" not in one["content"]]
        assert [(text, one["event_id"]) for one in said for text in marked(one["content"]["body"])] == order
        archived = await evening.sam.page_back()
        assert [(one.text, one.msgid) for one in archived] == order
        if evening.jess is not None:
            await evening.jess.page_back()
            assert [(one.text, one.msgid) for one in evening.jess.seen()] == order

    evening.runner.run(story())


def test_nothing_went_wrong_inside(evening: Evening) -> None:
    bad = [line for line in evening.server.output if "Traceback" in line or "[error" in line]
    assert bad == [], "".join(evening.server.output[-80:])
