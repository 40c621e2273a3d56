"""slixmpp: an XMPP client library in Python, over STARTTLS trusting the server's self-made certificate."""

import asyncio

from slixmpp import ClientXMPP
from slixmpp.stanza import Message, Presence
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, until
from tests.support.server import Server


class SlixPeer:
    """Registers in-band (XEP-0077) or logs in, enters by XEP-0045, reads event ids from XEP-0359."""

    shows_ids = True
    shows_own_at_once = False

    def __init__(self, account: str, *, registers: bool = True, room: str = ROOM) -> None:
        """`room`: its localpart; tea%other.example is #tea of another server."""
        self.account = account
        self._localpart = room
        # Every message as it came, also those without a body.
        self.stanzas: list[str] = []
        self.registers = registers
        self.nick = account
        self._seen: list[Seen] = []
        self.private: list[Seen] = []
        self._topic = ""
        self.statuses: list[set[str]] = []
        self._in_room = False

    async def start(self, server: Server) -> None:
        self.room = f"{self._localpart}@rooms.{server.name}"
        client = ClientXMPP(f"{self.account}@{server.name}/slix", PASSWORD)
        for plugin in ("xep_0030", "xep_0045", "xep_0077", "xep_0199", "xep_0313", "xep_0359"):
            client.register_plugin(plugin)
        client.plugin["xep_0077"].force_registration = self.registers
        client.ca_certs = server.certificate
        self.client = client
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.registered = False
        if self.registers:
            client.add_event_handler("register", self._register)
        client.add_event_handler("session_start", lambda _: ready.done() or ready.set_result(None))
        client.add_event_handler("failed_all_auth", lambda _: ready.set_exception(AssertionError("login failed")))
        client.add_event_handler("groupchat_message", self._message)
        client.add_event_handler("message", self._chat)
        client.add_event_handler("groupchat_subject", self._subject)
        every = Callback("every message", MatchXPath("{jabber:client}message"), self._keep)
        client.register_handler(every)
        client.add_event_handler(f"muc::{self.room}::got_offline", self._gone)
        client.connect("127.0.0.1", server.ports["xmpp"])
        await asyncio.wait_for(ready, PATIENCE_S)
        assert self.registered == self.registers, "in-band registration"
        client.send_presence()
        await client.get_roster()

    async def _register(self, form: object) -> None:
        answer = self.client.Iq()
        answer["type"] = "set"
        answer["register"]["username"] = self.account
        answer["register"]["password"] = PASSWORD
        await answer.send()
        self.registered = True

    async def join(self, history: int = 0) -> None:
        muc = self.client.plugin["xep_0045"]
        presence, subject, *_ = await muc.join_muc_wait(self.room, self.nick, maxstanzas=history, timeout=PATIENCE_S)
        codes = set(presence["muc"]["status_codes"])
        assert 110 in codes, codes
        self._topic = subject["subject"]
        self._in_room = True

    def _message(self, stanza: Message) -> None:
        if stanza.xml.find("{urn:xmpp:message-correct:0}replace") is not None:
            return  # what it was, said again
        for text in marked(stanza["body"]):
            assert str(stanza["stanza_id"]["by"]) == self.room
            self._seen.append(Seen(text, stanza["from"].resource, stanza["stanza_id"]["id"]))

    def _keep(self, stanza: Message) -> None:
        self.stanzas.append(str(stanza))

    def _chat(self, stanza: Message) -> None:
        if stanza["type"] in ("chat", "normal"):
            self.private += [Seen(text, stanza["from"].bare, None) for text in marked(stanza["body"])]

    async def tell(self, account: str, text: str) -> None:
        """A one-to-one message."""
        self.client.send_message(f"{account}@{self.client.boundjid.domain}", text, mtype="chat")

    async def page_back(self, limit: int = 7) -> list[Seen]:
        """The marked messages of the room's archive, oldest first, in pages of `limit`. spec: XEP-0313 4"""
        found: list[Seen] = []
        archive = self.client.plugin["xep_0313"]
        async for result in archive.iterate(self.room, reverse=True, rsm={"max": limit}):
            inner = result["mam_result"]["forwarded"]["stanza"]
            if inner.xml.find("{urn:xmpp:message-correct:0}replace") is None:
                sender, msgid = inner["from"].resource, result["mam_result"]["id"]
                found += [Seen(text, sender, msgid) for text in marked(inner["body"])]
        return found[::-1]

    def _subject(self, stanza: Message) -> None:
        self._topic = stanza["subject"]

    def _gone(self, stanza: Presence) -> None:
        codes = {str(code) for code in stanza["muc"]["status_codes"]}
        self.statuses.append(codes)
        if "110" in codes and "303" not in codes:
            self._in_room = False

    async def say(self, text: str) -> None:
        self.client.send_message(self.room, text, mtype="groupchat")

    async def set_topic(self, topic: str) -> None:
        self.client.plugin["xep_0045"].set_subject(self.room, topic)

    async def rename(self, nick: str) -> None:
        """Change the nick in the room. spec: XEP-0045 7.6"""
        await self.client.plugin["xep_0045"].set_self_nick(self.room, nick)
        self.nick = nick

    def seen(self) -> list[Seen]:
        return list(self._seen)

    def topic(self) -> str:
        return self._topic

    def people(self) -> set[str] | None:
        return set(self.client.plugin["xep_0045"].get_roster(self.room) or ())

    def in_room(self) -> bool:
        return self._in_room

    async def leave(self) -> None:
        """Unregister from the room, which ends the membership (docs/mapping.md 4.4)."""
        request = self.client.make_iq_set(ito=self.room)
        request["register"]["remove"] = True
        await request.send(timeout=PATIENCE_S)
        await until(lambda: not self._in_room, lambda: f"still in the room: {self.statuses}")

    async def stop(self) -> None:
        await asyncio.wait_for(self.client.disconnect(wait=1.0), 5)
