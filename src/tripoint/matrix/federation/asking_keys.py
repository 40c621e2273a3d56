"""Keys of anybody, for a client: those of this server's users from here, those of others from where they are.

The list of somebody who shares a room is kept (accounts/remote_lists.py) and is asked for again only when an update was
missed; others are asked about each time. A server that does not answer in time is named, and holds up nobody else.
spec: Matrix client-server-api POST /keys/query, POST /keys/claim; server-server-api getUserDevices,
queryUserEncryptionKeys, claimUserEncryptionKeys
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.refusals import KeyRefused
from tripoint.accounts.remote_lists import RemoteList
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.device_keys import MASTER, SELF_SIGNING, USER_SIGNING, with_signatures
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName, UserId, server_of
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.matrix.federation.client import RemoteRefused, make_target
from tripoint.matrix.federation.questions import V1, Client
from tripoint.matrix.federation.remote_keys import (
    read_claimed_key,
    read_remote_device,
    read_remote_keys,
    read_stream_id,
)
from tripoint.rooms.ports import RoomReader

log = structlog.get_logger()

# Requests to one server, and to all, at a time, for one client's question.
AT_ONCE_ONE: Final = 10
AT_ONCE: Final = 50
# Users of one server in one request.
USERS_AT_ONCE: Final = 200
# Users after whom others run in between: the keys of one take some 0.2 ms to read.
USERS_PER_TURN: Final = 20
LIMIT_BYTES: Final = 4_000_000
# Of one user: more are somebody's attempt to make others encrypt for nothing.
MAX_DEVICES: Final = 1_000

# Which member of an answer holds the keys of which usage.
_ANSWERS: Final = {MASTER: "master_keys", SELF_SIGNING: "self_signing_keys", USER_SIGNING: "user_signing_keys"}
_KEPT: Final = (MASTER, SELF_SIGNING)


class _Found:
    """An answer in the making."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Json]] = {}
        self.keys: dict[str, dict[str, Json]] = {name: {} for name in _ANSWERS.values()}
        self.failures: dict[str, Json] = {}

    def fail(self, server: ServerName, reason: str) -> None:
        self.failures[server] = {"errcode": "M_UNKNOWN", "error": reason, "status": 503}

    def answer(self) -> JsonObject:
        devices: Json = dict(self.devices)
        return {"device_keys": devices, "failures": self.failures, **self.keys}


class KeyQuestions:
    """`client` None: there are no other servers."""

    def __init__(
        self, server: ServerName, encryption: Encryption, reader: RoomReader, client: Client | None
    ) -> None:
        self._server = server
        self._keys = encryption.keys
        self._signing = encryption.signing
        self._remote = encryption.remote
        self._reader = reader
        self._client = client
        # Lists that are being asked for, so that many clients ask once.
        self._fetching: dict[UserId, asyncio.Task[RemoteList | None]] = {}

    # -- /keys/query

    async def query(
        self, wanted: Mapping[UserId, Sequence[str]], viewer: UserId, timeout_s: float
    ) -> JsonObject:
        """The answer for `wanted`: users with the devices asked for, none meaning all."""
        found = _Found()
        abroad: dict[ServerName, dict[UserId, Sequence[str]]] = defaultdict(dict)
        for number, (user_id, devices) in enumerate(wanted.items(), 1):
            if server_of(user_id) == self._server:
                await self._local(found, user_id, devices, viewer)
            else:
                abroad[server_of(user_id)][user_id] = devices
            if number % USERS_PER_TURN == 0:
                await asyncio.sleep(0)
        if abroad:
            others = [user_id for users in abroad.values() for user_id in users]
            shared = await self._reader.sharing(viewer, others)
            gate = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for server, users in abroad.items():
                    group.create_task(self._of_server(found, server, users, shared, viewer, timeout_s, gate))
        return found.answer()

    async def _local(self, found: _Found, user_id: UserId, devices: Sequence[str], viewer: UserId) -> None:
        known = await self._keys.query(user_id, viewer)
        # A user without devices is there with none, as far as there is such a user.
        found.devices[user_id] = {name: json for name, json in known.items() if not devices or name in devices}
        for usage, key in (await self._signing.shown(user_id, viewer)).items():
            found.keys[_ANSWERS[usage]][user_id] = key

    async def _of_server(
        self,
        found: _Found,
        server: ServerName,
        users: Mapping[UserId, Sequence[str]],
        shared: frozenset[UserId],
        viewer: UserId,
        timeout_s: float,
        gate: asyncio.Semaphore,
    ) -> None:
        unknown: dict[UserId, Sequence[str]] = {}
        to_fetch: list[UserId] = []
        for number, (user_id, devices) in enumerate(users.items(), 1):
            if number % USERS_PER_TURN == 0:
                await asyncio.sleep(0)
            known = await self._remote.get(user_id)
            if known is not None and user_id in shared:
                await self._add(found, user_id, devices, known, viewer)
            elif user_id in shared:
                to_fetch.append(user_id)
            else:
                unknown[user_id] = devices
        if not (unknown or to_fetch):
            return
        own_gate = asyncio.Semaphore(AT_ONCE_ONE)
        deadline = asyncio.get_running_loop().time() + timeout_s

        async def ask(part: Mapping[UserId, Sequence[str]], single: UserId | None) -> None:
            try:
                async with asyncio.timeout_at(deadline), own_gate, gate:
                    if single is None:
                        lists = await self._ask(server, part, timeout_s)
                    else:
                        fetched = await self._fetch(single)
                        lists = {} if fetched is None else {single: fetched}
            except TimeoutError:
                found.fail(server, f"No answer within {timeout_s:g} s")
            except RemoteFailed as failed:
                found.fail(server, failed.reason)
            else:
                for user_id, known in lists.items():
                    await self._add(found, user_id, users[user_id], known, viewer)

        async with asyncio.TaskGroup() as group:
            for user_id in to_fetch:
                group.create_task(ask({}, user_id))
            names = list(unknown)
            for start in range(0, len(names), USERS_AT_ONCE):
                group.create_task(ask({one: unknown[one] for one in names[start : start + USERS_AT_ONCE]}, None))

    async def _add(
        self, found: _Found, user_id: UserId, devices: Sequence[str], known: RemoteList, viewer: UserId
    ) -> None:
        found.devices[user_id] = {
            one.device_id: {
                **one.keys,
                "unsigned": {} if one.display_name is None else {"device_display_name": one.display_name},
            }
            for one in known.devices
            if not devices or one.device_id in devices
        }
        more = await self._keys.signatures(user_id, viewer)
        for usage, key in known.keys.items():
            name = next(iter(object_at(key, "keys")), "").partition(":")[2]
            found.keys[_ANSWERS[usage]][user_id] = with_signatures(key, more.get(name, ()))

    async def _fetch(self, user_id: UserId) -> RemoteList | None:
        """The whole list of somebody who shares a room, kept from now on. None: there is no such user. RemoteFailed."""
        fetching = self._fetching.get(user_id)
        if fetching is None:
            fetching = asyncio.get_running_loop().create_task(self._fetch_list(user_id))
            self._fetching[user_id] = fetching
            fetching.add_done_callback(lambda done: self._fetched(user_id, done))
        return await asyncio.shield(fetching)

    def _fetched(self, user_id: UserId, done: "asyncio.Task[RemoteList | None]") -> None:
        self._fetching.pop(user_id, None)
        if not done.cancelled():
            done.exception()  # told to whoever still waits

    async def close(self) -> None:
        """Give up what is being asked."""
        fetching = list(self._fetching.values())
        for one in fetching:
            one.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    async def _fetch_list(self, user_id: UserId) -> RemoteList | None:
        server = server_of(user_id)
        target = make_target(*V1, "user", "devices", user_id)
        try:
            answer = await self._asked(server).request(server, "GET", target, limit_bytes=LIMIT_BYTES)
        except RemoteRefused as refused:
            if refused.status == 404:
                return None
            raise
        devices = []
        for entry in list_at(answer, "devices")[:MAX_DEVICES]:
            if isinstance(entry, dict):
                device = read_remote_device(user_id, entry)
                if device is not None:
                    devices.append(device)
        keys = read_remote_keys(user_id, {usage: answer.get(f"{usage}_key") for usage in _KEPT})
        # Without a version no update can follow: the next one makes the list stale.
        whole = RemoteList(read_stream_id(answer) or 0, devices, keys)
        try:
            await self._remote.replace(user_id, whole)
        except KeyRefused:
            log.warning("devices.list_not_kept", user_id=user_id)
        return whole

    async def _ask(
        self, server: ServerName, wanted: Mapping[UserId, Sequence[str]], timeout_s: float
    ) -> dict[UserId, RemoteList]:
        """Users who share no room: nothing of them is kept. RemoteFailed."""
        content: JsonObject = {"device_keys": {user_id: list(devices) for user_id, devices in wanted.items()}}
        target = make_target(*V1, "user", "keys", "query")
        answer = await self._asked(server).request(
            server, "POST", target, content, timeout_s=timeout_s, limit_bytes=LIMIT_BYTES
        )
        found: dict[UserId, RemoteList] = {}
        for user_id in wanted:
            devices = []
            for device_id, value in list(object_at(object_at(answer, "device_keys"), user_id).items())[:MAX_DEVICES]:
                keys = value if isinstance(value, dict) else {}
                name = text_at(object_at(keys, "unsigned"), "device_display_name")
                device = read_remote_device(
                    user_id, {"device_id": device_id, "keys": keys, "device_display_name": name}
                )
                if device is not None:
                    devices.append(device)
            own = {usage: object_at(answer, _ANSWERS[usage]).get(user_id) for usage in _KEPT}
            keys_of_user = read_remote_keys(user_id, own)
            if devices or keys_of_user or user_id in object_at(answer, "device_keys"):
                found[user_id] = RemoteList(0, devices, keys_of_user)
        return found

    def _asked(self, server: ServerName) -> Client:
        if self._client is None:
            raise RemoteFailed(server, "this server talks to no others")
        return self._client

    async def master_key(self, user_id: UserId) -> JsonObject | None:
        """The master key of another server's user: as it is known here, else as that server says."""
        known = await self._remote.get(user_id)
        if known is None:
            try:
                known = (await self._ask(server_of(user_id), {user_id: []}, 10.0)).get(user_id)
            except RemoteFailed as failed:
                log.info("devices.no_master_key", user_id=user_id, reason=failed.reason)
        return None if known is None else known.keys.get(MASTER)

    # -- /keys/claim

    async def claim(self, wanted: Mapping[UserId, Mapping[str, str]], timeout_s: float) -> JsonObject:
        """One key for each device that is named with an algorithm."""
        found: dict[str, Json] = {}
        failures: dict[str, Json] = {}
        abroad: dict[ServerName, dict[UserId, Mapping[str, str]]] = defaultdict(dict)
        for user_id, devices in wanted.items():
            if server_of(user_id) != self._server:
                abroad[server_of(user_id)][user_id] = devices
            elif claimed := await self.claim_local(user_id, devices):
                found[user_id] = claimed
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(server: ServerName, users: Mapping[UserId, Mapping[str, str]]) -> None:
            try:
                async with gate:
                    found.update(await self._claim_there(server, users, timeout_s))
            except RemoteFailed as failed:
                failures[server] = {"errcode": "M_UNKNOWN", "error": failed.reason, "status": 503}

        async with asyncio.TaskGroup() as group:
            for server, users in abroad.items():
                group.create_task(ask(server, users))
        return {"one_time_keys": found, "failures": failures}

    async def claim_local(self, user_id: UserId, devices: Mapping[str, str]) -> JsonObject:
        """Keys of a user of this server, by device; devices without one are left out."""
        found: JsonObject = {}
        for device_id, algorithm in devices.items():
            key = await self._keys.claim(user_id, device_id, algorithm)
            if key is not None:
                found[device_id] = {key[0]: key[1]}
        return found

    async def _claim_there(
        self, server: ServerName, users: Mapping[UserId, Mapping[str, str]], timeout_s: float
    ) -> JsonObject:
        content: JsonObject = {"one_time_keys": {user_id: dict(devices) for user_id, devices in users.items()}}
        target = make_target(*V1, "user", "keys", "claim")
        answer = await self._asked(server).request(
            server, "POST", target, content, timeout_s=timeout_s, limit_bytes=LIMIT_BYTES
        )
        found: JsonObject = {}
        for user_id, devices in users.items():
            said = object_at(object_at(answer, "one_time_keys"), user_id)
            keys = {device_id: read_claimed_key(said.get(device_id), name) for device_id, name in devices.items()}
            good: JsonObject = {device_id: key for device_id, key in keys.items() if key is not None}
            if good:
                found[user_id] = good
        return found
