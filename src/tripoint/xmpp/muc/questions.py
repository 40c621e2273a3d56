"""Questions that a room asks other servers for those who are in it: the card of somebody whom their own server knows.

Asked in the name of the occupant who wants to know, of the person's bare address. spec: XEP-0045 17.4 (3); XEP-0054 3.3
"""

import asyncio
from typing import Final

from tripoint.xmpp.jid import Jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import Doors
from tripoint.xmpp.tables import CLIENT_NS, VCARD_NS
from tripoint.xmpp.wire import Element, escape_attribute

# How long another server is waited for; clients give up later.
PATIENCE_S: Final = 20.0
# Questions that wait for an answer; whoever asks more is told what is known here.
MAX_OPEN: Final = 500


class Questions:
    """All that are open. `answered` hears of results and errors that come for rooms."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._open: dict[tuple[str, str], asyncio.Future[Element]] = {}
        self._count = 0

    async def card(self, asker: str, whom: str) -> Element | None:
        """The card of a bare address, asked by the address of an occupant; None where there is no answer."""
        abroad = self._doors.abroad
        if abroad is None or len(self._open) >= MAX_OPEN:
            return None
        self._count += 1
        its_id, jid = f"card-{self._count}", parse_jid(whom)
        answer: asyncio.Future[Element] = asyncio.get_running_loop().create_future()
        self._open[its_id, whom] = answer
        head = f"<iq type='get' id='{its_id}' from='{escape_attribute(asker)}' to='{escape_attribute(whom)}'>"
        original = Element("iq", CLIENT_NS, {"type": "get", "id": its_id, "from": asker, "to": whom})
        try:
            abroad.send(f"{head}<vCard xmlns='{VCARD_NS}'/></iq>".encode(), self._doors.domains.rooms, jid, original)
            async with asyncio.timeout(PATIENCE_S):
                stanza = await answer
        except TimeoutError:
            return None
        finally:
            del self._open[its_id, whom]
        return stanza.child("vCard", VCARD_NS) if stanza.get("type") == "result" else None

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
            answer.set_result(Element("iq", CLIENT_NS, {"type": "error"}))
