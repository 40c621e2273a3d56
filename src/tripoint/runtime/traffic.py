"""Transactions, wired: what goes to other servers and what comes from them, between the middle and trust.

start() comes before the listeners, stop() before the store closes. Tests build it on a network in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from tripoint.config.options import Config
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, parse_event
from tripoint.core.ids import RoomId, ServerName
from tripoint.core.room_version import RoomVersion
from tripoint.matrix.federation.client import FederationClient, make_target
from tripoint.matrix.federation.edus import EduIntake
from tripoint.matrix.federation.handshakes import Handshakes
from tripoint.matrix.federation.incoming_devices import IncomingDevices
from tripoint.matrix.federation.intake import TransactionEndpoints
from tripoint.matrix.federation.outgoing_devices import OutgoingDevices
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.federation.questions import V1, Questions
from tripoint.matrix.federation.sender import Send, Sender
from tripoint.matrix.federation.trust import Trust
from tripoint.rooms.audience import Audience
from tripoint.rooms.backfill import Backfill
from tripoint.rooms.catch_up import CatchUp
from tripoint.rooms.outbox import Outbox
from tripoint.rooms.partial import Completion
from tripoint.rooms.room import Room
from tripoint.rooms.staging import Staging
from tripoint.runtime.middle import Middle

log = structlog.get_logger("tripoint")

# A transaction may make the other server fetch things; after this it counts as not taken.
SEND_S = 60.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the app starts and stops of it. `transactions` are endpoints."""

    sender: Sender
    staging: Staging
    completion: Completion
    edus: EduIntake
    devices: IncomingDevices
    transactions: TransactionEndpoints
    _tasks: list[asyncio.Task[None]]

    async def start(self) -> None:
        """Take up what the last process left."""
        await self.staging.start()
        await self.completion.start()
        await self.sender.start()
        self._tasks.append(asyncio.get_running_loop().create_task(self.sender.run()))

    async def stop(self) -> None:
        """Give up what is on its way; all of it is written down. The listeners take nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.transactions.close()
        await self.staging.close()
        await self.completion.close()
        await self.devices.close()
        await self.sender.close()

    def counts(self) -> Mapping[str, float]:
        """For the metrics: destinations by state, and PDUs that wait for what they lack."""
        return {**self.sender.counts(), "waiting_pdus": float(self.staging.waiting)}


def build_traffic(
    config: Config,
    middle: Middle,
    trust: Trust,
    now_ms: Callable[[], int],
    report: Callable[[str, BaseException], None],
) -> Traffic:
    """Wire it; nothing is sent before start()."""
    server = trust.own.server
    check = trust.check
    questions = Questions(trust.client, check, _version_of(middle))
    middle.door.open(questions, Handshakes(trust.client, check))
    catch_up = CatchUp(middle.loaded, middle.accept, middle.outliers, middle.store, questions)
    middle.reader.past = Backfill(
        server, middle.writer, middle.outliers, middle.store, questions, catch_up, middle.monotonic
    )
    completion = Completion(
        server,
        middle.loaded,
        middle.writer,
        middle.remote_writer,
        middle.outliers,
        middle.store,
        questions,
        middle.turns,
        report,
    )
    middle.elsewhere.entered_partly = completion.begin
    middle.elsewhere.coming_back = catch_up.fill_absence
    middle.invitations.catch_up = catch_up.take
    staging = Staging(server, middle.loaded, middle.store, middle.stream, _checker(check), catch_up, report)
    outbox = Outbox(
        server,
        middle.loaded,
        middle.store,
        middle.stream,
        Audience(server, middle.loaded, middle.store),
        middle.sticky,
    )
    presence = config.federation.presence
    sender = Sender(
        server,
        outbox,
        _send_by(trust.client),
        now_ms,
        report,
        OutgoingDevices(server, middle.encryption, middle.reader, outbox.servers, report),
        middle.encryption.messages,
        presence_of=middle.reader.joined_rooms if presence else None,
    )
    middle.reader.failing_since = sender.failing_since
    devices = IncomingDevices(server, middle.encryption, middle.loaded, middle.monotonic, report)
    edus = EduIntake(middle.loaded, middle.service, middle.presence if presence else None, now_ms, devices)
    middle.hub.watch_all_rooms(devices.room_changed, messages=False)
    middle.hub.watch_all_rooms(sender.room_changed)
    middle.hub.watch_users(sender.user_changed)
    trust.gate.heard = sender.heard_from
    trust.gate.kept_out = middle.server_lists.against_server
    transactions = TransactionEndpoints(
        server, middle.loaded, middle.accept, staging, check, edus.take, middle.invitations.take_back
    )
    transactions.entered = middle.elsewhere.entered
    return Traffic(sender, staging, completion, edus, devices, transactions, [])


def _version_of(middle: Middle) -> Callable[[RoomId], Awaitable[RoomVersion]]:
    async def version_of(room_id: RoomId) -> RoomVersion:
        return (await middle.loaded.get(room_id)).version

    return version_of


def _checker(check: PduCheck) -> Callable[[Room, bytes], Awaitable[Event]]:
    async def checked(room: Room, json: bytes) -> Event:
        return await check.verify(parse_event(json, room.version))

    return checked


def _send_by(client: FederationClient) -> Send:
    async def send(destination: ServerName, txn_id: str, body: bytes) -> None:
        answer = await client.put_encoded(destination, make_target(*V1, "send", txn_id), body, timeout_s=SEND_S)
        refused = _refused(answer)
        if refused:
            log.info("federation.events_refused", server=destination, number=refused)

    return send


def _refused(answer: JsonObject) -> int:
    """How many events the other server did not take. It has them, or does not want them: they do not go again."""
    pdus = answer.get("pdus")
    results = pdus.values() if isinstance(pdus, dict) else ()
    return sum(1 for result in results if isinstance(result, dict) and "error" in result)
