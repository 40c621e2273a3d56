"""What services say, however long it is. spec: docs/mapping.md 18.1"""

from __future__ import annotations

import re

from tests.irc.server import serve
from tests.irc.test_server import run
from tripoint.irc.services import MAX_SAID
from tripoint.rooms.commands import SetTopic


def test_what_is_longer_than_a_line_is_said_in_several() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            await alice.answer("JOIN #tea")
            room_id = await server.front.network.find_room("#tea", server.middle.accounts.user_id("alice"))
            assert room_id is not None
            words = [f"word{number}" for number in range(3000)]
            for count, whole in ((100, True), (3000, False)):
                topic = " ".join(words[:count])
                wish = SetTopic(actor=server.middle.accounts.user_id("alice"), room_id=room_id, topic=topic)
                await server.middle.service.do(wish)
                said = [line.partition(" NOTICE alice :")[2] for line in await alice.answer("CS INFO #tea")]
                about = [line for line in said if re.search(r"\bword\d", line)]
                assert 2 <= len(about) <= MAX_SAID
                text = " ".join(about)
                assert (text == f"Topic: {topic}") is whole
                assert any(line.endswith("...") for line in said) is not whole

    run(scenario())
