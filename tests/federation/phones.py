"""People with devices on ships (fleet.py): what their clients would upload, send and be told."""

from typing import Any

import orjson

from tests.federation.fleet import Ship
from tests.matrix.crypto import Key, Tree
from tripoint.accounts.cross_signing import UploadedKeys
from tripoint.accounts.ports import Account
from tripoint.core.canonical_json import JsonObject
from tripoint.core.device_keys import read_cross_signing_key, read_device_keys, read_one_time_keys
from tripoint.core.ids import UserId, split_user_id
from tripoint.matrix.sync.device_lists import DeviceLists
from tripoint.rooms.changes import DeviceListChanged, UserChange

ALGORITHM = "signed_curve25519"


class Phone:
    """A logged-in device. It survives restarts of its server: nothing of it is in memory but how far it has read."""

    def __init__(self, ship: Ship, user_id: UserId, device_id: str) -> None:
        self.ship = ship
        self.user_id, self.device_id = user_id, device_id
        self.key = Key(f"{user_id} {device_id}")
        self.read = 0
        self.got: list[Any] = []
        self.types: list[str] = []

    @classmethod
    async def open(cls, ship: Ship, user_id: UserId, device_id: str = "PHONE") -> "Phone":
        accounts = ship.party.middle.accounts
        account: Account | None = await accounts.account(user_id)
        if account is None:
            account = await accounts.add_account(split_user_id(user_id)[0], "correct horse", admin=False)
        await accounts.log_in(account, protocol="matrix", device_id=device_id, tokens=True)
        return cls(ship, user_id, device_id)

    def keys(self, **more: Any) -> JsonObject:
        bare = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{self.device_id}": self.key.public},
            **more,
        }
        return self.key.sign(bare, self.user_id, self.device_id)

    async def upload(self, *names: str, **more: Any) -> None:
        keys = read_device_keys(self.keys(**more), self.user_id, self.device_id)
        signed = {f"{ALGORITHM}:{n}": self.key.sign({"key": n}, self.user_id, self.device_id) for n in names}
        one_time = read_one_time_keys(signed, "one_time_keys")
        await self.ship.party.middle.encryption.keys.upload(self.user_id, self.device_id, keys, one_time, [])

    async def cross_sign(self, word: str = "") -> Tree:
        tree = Tree(self.user_id, word)
        body = tree.body()
        keys = [
            read_cross_signing_key(body[f"{usage}_key"], self.user_id, usage)
            for usage in ("master", "self_signing", "user_signing")
        ]
        await self.ship.party.middle.encryption.signing.upload(self.user_id, UploadedKeys(*keys), confirmed=True)
        return tree

    async def tell(self, txn: str, *to: tuple[UserId, str], n: Any = None) -> None:
        messages: dict[UserId, dict[str, JsonObject]] = {}
        for user_id, device_id in to:
            messages.setdefault(user_id, {})[device_id] = {"n": txn if n is None else n}
        sender = self.ship.party.middle.encryption.messages
        await sender.send(self.user_id, self.device_id, txn, "m.test", messages)

    async def sync(self) -> list[Any]:
        """The messages since the last sync."""
        middle = self.ship.party.middle
        messages = middle.encryption.messages
        await messages.acknowledge(self.user_id, self.device_id, self.read)
        fresh = []
        while True:
            page = await messages.page(self.user_id, self.device_id, self.read, middle.stream.committed)
            fresh += [orjson.loads(event)["content"]["n"] for event in page.events]
            self.read = page.upto if page.events else middle.stream.committed
            if not page.more:
                break
        self.got += fresh
        return fresh

    async def query(self, *user_ids: UserId, timeout_s: float = 10.0) -> Any:
        return await self.ship.questions.query({one: [] for one in user_ids}, self.user_id, timeout_s)

    async def claim(self, user_id: UserId, device_id: str) -> Any:
        return await self.ship.questions.claim({user_id: {device_id: ALGORITHM}}, 10.0)


class Follower:
    """Whose devices a ship's users are told to look at again, by position."""

    def __init__(self, ship: Ship) -> None:
        middle = ship.party.middle
        self._middle = middle
        self._lists = DeviceLists(ship.name, middle.reader, middle.encryption.changes)
        middle.hub.watch_all_rooms(self._lists.room_changed)
        middle.hub.watch_users(self._user_changed)
        self._at = middle.stream.committed

    def _user_changed(self, change: UserChange) -> None:
        if isinstance(change, DeviceListChanged):
            self._lists.user_changed(change)

    async def news(self, user_id: UserId) -> tuple[list[UserId], list[UserId]]:
        """(changed, left) since the last time."""
        at, self._at = self._at, self._middle.stream.committed
        return await self._lists.since(user_id, at)
