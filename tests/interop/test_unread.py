"""matrix-nio is told what is unread, reads it, and changes push rules; an IRC client says it.

spec: Matrix client-server module push; docs/mapping.md 13.5, 22.3
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from nio import PushRulesEvent, ReceiptType
from nio.api import PushRuleKind
from nio.events.account_data import PushEventMatch
from nio.responses import DeletePushRuleResponse, EnablePushRuleResponse, SetPushRuleResponse
from tests.interop.irc_peer import IrcPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import until
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop


def test_nio_counts_reads_and_mutes(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        asyncio.run(asyncio.wait_for(_story(server), 90))


async def _story(server: Server) -> None:
    nina, ivo = NioPeer("nina"), IrcPeer("ivo")
    told: list[PushRulesEvent] = []
    try:
        await nina.start(server)
        nina.client.add_global_account_data_callback(_keep(told), PushRulesEvent)
        await nina.create()
        await ivo.start(server)
        await ivo.join()

        async def unread(notifications: int, highlights: int) -> None:
            def counts() -> tuple[int, int]:
                room = nina.client.rooms[nina.room_id]
                return room.unread_notifications, room.unread_highlights

            await until(lambda: counts() == (notifications, highlights), lambda: f"nio counts {counts()}")

        await ivo.say("says-ivo-1")
        await unread(1, 0)
        await ivo.say("nina: says-ivo-2")
        await unread(2, 1)
        last = next(one for one in nina.seen() if one.text == "says-ivo-2")
        await nina.client.update_receipt_marker(nina.room_id, last.msgid, ReceiptType.read)
        await unread(0, 0)

        # A rule of her own, and none again.
        room_id = nina.room_id
        muted = [PushEventMatch("room_id", room_id)]
        answer = await nina.client.set_pushrule("global", PushRuleKind.override, room_id, conditions=muted)
        assert isinstance(answer, SetPushRuleResponse), answer
        await until(
            lambda: any(rule.id == room_id for event in told for rule in event.global_rules.override),
            lambda: "nio is not told of its rule",
        )
        await ivo.say("says-ivo-3")
        await until(lambda: len(nina.seen()) == 3, lambda: f"{nina.seen()}")
        await unread(0, 0)
        disabled = await nina.client.enable_pushrule("global", PushRuleKind.override, room_id, enable=False)
        assert isinstance(disabled, EnablePushRuleResponse), disabled
        await ivo.say("says-ivo-4")
        await unread(2, 0)
        gone = await nina.client.delete_pushrule("global", PushRuleKind.override, room_id)
        assert isinstance(gone, DeletePushRuleResponse), gone
    finally:
        await asyncio.gather(nina.stop(), ivo.stop(), return_exceptions=True)


def _keep(told: list[PushRulesEvent]) -> Callable[[PushRulesEvent], Awaitable[None]]:
    async def keep(event: PushRulesEvent) -> None:
        told.append(event)

    return keep
