"""The Python package `irc`: an IRC client library of the classic kind, with message tags."""

import asyncio
from collections.abc import Sequence

from irc.client import Event, ServerConnection
from irc.client_aio import AioReactor
from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, until
from tests.support.server import Server

CHANNEL = f"#{ROOM}"


class IrcPeer:
    """Logs in with PASS account:password, then asks for tags, ids and its own echo."""

    shows_ids = True
    shows_own_at_once = False

    def __init__(
        self, account: str, *, registers: bool = True, channel: str = CHANNEL, capabilities: Sequence[str] = ()
    ) -> None:
        self.account = account
        self.registers = registers
        self.channel = channel
        self.capabilities = ("message-tags", "server-time", "echo-message", *capabilities)
        self.private: list[Seen] = []
        self._seen: list[Seen] = []
        self._topic = ""
        self._names: set[str] = set()
        self.kicked_by = ""
        self.lines: list[str] = []

    async def start(self, server: Server) -> None:
        if self.registers:
            server.register(self.account, PASSWORD)
        reactor = AioReactor(loop=asyncio.get_running_loop())
        self.connection = reactor.server()
        self._acknowledged: set[str] = set()
        said = ("pubmsg", "privmsg", "currenttopic", "topic")
        names = (*said, "namreply", "join", "part", "kick", "quit", "nick", "cap")
        for name in names:
            self.connection.add_global_handler(name, getattr(self, f"_on_{name}"))
        self.connection.add_global_handler("all_events", self._keep)
        await self.connection.connect(
            "127.0.0.1", server.ports["irc"], self.account, password=f"{self.account}:{PASSWORD}"
        )
        await until(self.connection.is_connected, lambda: "\n".join(self.lines))
        self.connection.cap("REQ", *self.capabilities)
        self.connection.cap("END")
        await until(lambda: "message-tags" in self._acknowledged, lambda: "\n".join(self.lines))

    def _keep(self, _: ServerConnection, event: Event) -> None:
        tags = ";".join(f"{tag['key']}={tag['value']}" for tag in event.tags or ())
        self.lines.append(f"@{tags} {event.type} {event.source} {event.target} {event.arguments}")

    def _on_cap(self, _: ServerConnection, event: Event) -> None:
        if event.arguments[0] == "ACK":
            self._acknowledged.update(event.arguments[1].split())

    def _on_pubmsg(self, _: ServerConnection, event: Event) -> None:
        tags = {tag["key"]: tag["value"] for tag in event.tags}
        for text in marked(event.arguments[0]):
            self._seen.append(Seen(text, event.source.nick, tags.get("msgid")))

    def _on_privmsg(self, _: ServerConnection, event: Event) -> None:
        # echo-message: what this account says to somebody comes back with the target in it
        self.private += [Seen(text, event.source.nick, None) for text in marked(event.arguments[0])]

    async def tell(self, account: str, text: str) -> None:
        """A one-to-one message."""
        self.connection.privmsg(account, text)

    def _on_currenttopic(self, _: ServerConnection, event: Event) -> None:
        self._topic = event.arguments[1]

    def _on_topic(self, _: ServerConnection, event: Event) -> None:
        self._topic = event.arguments[0]

    def _on_namreply(self, _: ServerConnection, event: Event) -> None:
        self._names.update(name.lstrip("~&@%+") for name in event.arguments[2].split())

    def _on_join(self, _: ServerConnection, event: Event) -> None:
        self._names.add(event.source.nick)

    def _on_part(self, _: ServerConnection, event: Event) -> None:
        self._remove(event.source.nick)

    def _on_quit(self, _: ServerConnection, event: Event) -> None:
        self._remove(event.source.nick)

    def _on_kick(self, _: ServerConnection, event: Event) -> None:
        if event.arguments[0] == self.account:
            self.kicked_by = event.source.nick
        self._remove(event.arguments[0])

    def _on_nick(self, _: ServerConnection, event: Event) -> None:
        self._names.discard(event.source.nick)
        self._names.add(event.target)

    def _remove(self, nick: str) -> None:
        if nick == self.account:
            self._names.clear()
        self._names.discard(nick)

    async def join(self) -> None:
        self.connection.join(self.channel)
        await until(self.in_room, lambda: "\n".join(self.lines))

    async def say(self, text: str) -> None:
        self.connection.privmsg(self.channel, text)

    async def set_topic(self, topic: str) -> None:
        self.connection.topic(self.channel, topic)

    def seen(self) -> list[Seen]:
        return list(self._seen)

    def topic(self) -> str:
        return self._topic

    def people(self) -> set[str] | None:
        return set(self._names)

    def in_room(self) -> bool:
        return self.account in self._names

    async def leave(self) -> None:
        self.connection.part(self.channel, message="enough tea")
        await until(lambda: not self.in_room(), lambda: "\n".join(self.lines), PATIENCE_S)

    async def stop(self) -> None:
        if self.connection.is_connected():
            self.connection.disconnect("bye")
