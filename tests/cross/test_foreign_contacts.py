"""Somebody of another XMPP server is written to from all three protocols, in one conversation.

spec: docs/mapping.md 15.8, 1.7; RFC6121 3, 5
"""

# rows: 15.8

from pathlib import Path

import orjson

from tests.cross.test_foreign_people import AWAY, HOME, STAND_IN, Worlds, hears, on_irc, on_matrix, on_xmpp, run


def test_one_conversation_with_somebody_elsewhere(tmp_path: Path) -> None:
    async def work(worlds: Worlds) -> None:
        xmpp, irc = await on_xmpp(worlds[HOME], "alice"), await on_irc(worlds[HOME], "alice")
        matrix, pat = await on_matrix(worlds[HOME], "alice"), await on_xmpp(worlds[AWAY], "pat")
        await xmpp.send("<iq type='set' id='c1'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        await hears(xmpp, "id='c1'")
        # From IRC, by the rendered nick; the other side sees an ordinary message of alice.
        await irc.send(f"PRIVMSG pat|{AWAY} :from IRC")
        assert f"from='alice@{HOME}' type='chat'" in await hears(pat, "<body>from IRC</body>")
        copy = await hears(xmpp, "<body>from IRC</body>")
        assert f"to='pat@{AWAY}'" in copy and "<sent xmlns='urn:xmpp:carbons:2'" in copy
        event = orjson.loads(await hears(matrix, "from IRC"))
        assert event["sender"] == f"@alice:{HOME}"
        # From Matrix, in the room that it is.
        status, direct = await matrix.call("GET", f"/user/@alice:{HOME}/account_data/m.direct")
        assert status == 200, direct
        (room_id,) = direct[STAND_IN]
        status, created = await matrix.call("GET", f"/rooms/{room_id}/state/m.room.create")
        assert (status, created["m.federate"]) == (200, False)
        said = '{"msgtype": "m.text", "body": "from Matrix"}'
        await matrix.send(f"PUT /rooms/<{room_id}>/send/m.room.message/1 {said}")
        assert matrix.answer[0] == 200, matrix.answer
        await hears(pat, "<body>from Matrix</body>")
        # From XMPP, as any message.
        await xmpp.send(f"<message to='pat@{AWAY}' type='chat' id='x1'><body>from XMPP</body></message>")
        await hears(pat, "<body>from XMPP</body>")
        assert "from XMPP" in await hears(irc, "PRIVMSG .*from XMPP")
        # What is answered is there on all three.
        await pat.send(f"<message to='alice@{HOME}' type='chat' id='p1'><body>to all</body></message>")
        assert f":pat|{AWAY}!" in await hears(irc, ":to all")
        assert f"from='pat@{AWAY}/" in await hears(xmpp, "<body>to all</body>")
        assert orjson.loads(await hears(matrix, "to all"))["sender"] == STAND_IN
        # Presence and questions are between the two alone, and make no event.
        await xmpp.send(f"<presence to='pat@{AWAY}' type='subscribe'/>")
        assert "from='alice@" in await hears(pat, "type='subscribe'")
        await pat.send(f"<presence to='alice@{HOME}' type='subscribed'/>")
        await hears(xmpp, f"<presence from='pat@{AWAY}/desk'")
        await xmpp.send(f"<iq type='get' id='v1' to='pat@{AWAY}/desk'><query xmlns='jabber:iq:version'/></iq>")
        await hears(pat, "jabber:iq:version")
        assert [line for line in await irc.pending() if "PRIVMSG" in line] == []
        assert await matrix.pending() == []
        # Nobody else has a part in it: there is no such room for others, and no such nick to invite.
        carol = await on_matrix(worlds[HOME], "carol")
        await carol.send(f"POST /join/<{room_id}> {{}}")
        assert carol.answer[0] == 403, carol.answer

    run(tmp_path, work)
