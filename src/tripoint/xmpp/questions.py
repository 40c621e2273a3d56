"""Questions that this server asks others by itself, and what becomes of them.

A room asks for the card of somebody whom their own server knows, in the name of the occupant who wants to know, of the
person's bare address (XEP-0045 17.4 (3); XEP-0054 3.3). The server itself publishes pushes (push.py).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tripoint.xmpp.jid import Jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import Doors
from tripoint.xmpp.tables import CLIENT_NS, STANZA_ERRORS_NS, VCARD_NS
from tripoint.xmpp.wire import Element, escape_attribute

# How long another server is waited for; clients give up later.
PATIENCE_S: Final = 20.0
# Questions that wait for an answer; whoever asks more is told what is known here.
MAX_OPEN: Final = 500


class Questions:
    """All that are open. `answered` hears of results and errors that come for them."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._open: dict[tuple[str, str], asyncio.Future[Element]] = {}
        self._count = 0

    async def card(self, asker: str, whom: str) -> Element | None:
        """The card of a bare address, asked by the address of an occupant; None where there is no answer."""
        question, rooms = f"<vCard xmlns='{VCARD_NS}'/>", self._doors.domains.rooms
        stanza = await self.ask("get", asker, parse_jid(whom), question, rooms)
        return None if stanza is None or stanza.get("type") != "result" else stanza.child("vCard", VCARD_NS)

    async def ask(
        self, kind: str, asker: str, whom: Jid, xml: str, ours: str, here: Callable[[bytes], None] | None = None
    ) -> Element | None:
        """The answer, a result or an error; None where nothing came in time, or too much is asked.

        `ours`: the domain of ours that asks. `here`: sends it to a client of this server, where it is for one.
        """
        abroad = self._doors.abroad
        if (here is None and abroad is None) or len(self._open) >= MAX_OPEN:
            return None
        self._count += 1
        its_id, to = f"asked-{self._count}", str(whom)
        answer: asyncio.Future[Element] = asyncio.get_running_loop().create_future()
        self._open[its_id, to] = answer
        head = f"<iq type='{kind}' id='{its_id}' from='{escape_attribute(asker)}' to='{escape_attribute(to)}'>"
        data = f"{head}{xml}</iq>".encode()
        try:
            if here is not None:
                here(data)
            else:
                assert abroad is not None
                original = Element("iq", CLIENT_NS, {"type": kind, "id": its_id, "from": asker, "to": to})
                abroad.send(data, ours, whom, original)
            async with asyncio.timeout(PATIENCE_S):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._open[its_id, to]

    def answered(self, sender: Jid, stanza: Element) -> bool:
        """Whether this is the answer to a question."""
        answer = self._open.get((stanza.get("id") or "", str(sender)))
        if answer is None or stanza.name != "iq":
            return False
        if not answer.done():
            answer.set_result(stanza)
        return True

    def bounced(self, stanza: Element, problem: Problem) -> None:
        """A question could not be delivered."""
        answer = self._open.get((stanza.get("id") or "", stanza.get("to") or ""))
        if answer is not None and not answer.done():
            condition = Element(problem.condition, STANZA_ERRORS_NS, {}, [])
            error = Element("error", CLIENT_NS, {"type": problem.kind}, [condition])
            answer.set_result(Element("iq", CLIENT_NS, {"type": "error"}, [error]))
