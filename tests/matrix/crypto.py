"""Devices with real keys for tests: what a client with encryption signs and uploads."""

from typing import Any

from tests.matrix.client import PASSWORD, Client
from tripoint.core.canonical_json import encode
from tripoint.core.signing import SigningKey, signed_bytes


class Key:
    """An Ed25519 key made from a word."""

    def __init__(self, word: str) -> None:
        self._key = SigningKey("ed25519:1", word.encode().ljust(32, b"\0")[:32])
        self.public = self._key.verify_key_b64

    def sign(self, obj: dict[str, Any], user_id: str, name: str | None = None) -> dict[str, Any]:
        """The object with one more signature; `name` is a device, else the key is named by itself."""
        signature = self._key.sign(signed_bytes(obj))
        signatures = {user: dict(own) for user, own in obj.get("signatures", {}).items()}
        signatures.setdefault(user_id, {})[f"ed25519:{name or self.public}"] = signature
        return {**obj, "signatures": signatures}


class Device:
    """The keys of a client's device."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.user_id, self.device_id = client.user_id, client.device_id
        self.key = Key(f"{self.user_id} {self.device_id}")

    def keys(self, **more: Any) -> dict[str, Any]:
        bare = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"curve25519:{self.device_id}": f"curve of {self.device_id}",
                f"ed25519:{self.device_id}": self.key.public,
            },
            **more,
        }
        return self.key.sign(bare, self.user_id, self.device_id)

    def one_time(self, name: str, **more: Any) -> dict[str, Any]:
        return self.key.sign({"key": f"key {name}", **more}, self.user_id, self.device_id)

    async def upload(self, *one_time: str, fallback: str | None = None) -> dict[str, int]:
        """Identity keys, one-time keys and a fallback key of these names; the counts that come back."""
        body: dict[str, Any] = {"device_keys": self.keys()}
        if one_time:
            body["one_time_keys"] = {f"signed_curve25519:{name}": self.one_time(name) for name in one_time}
        if fallback is not None:
            body["fallback_keys"] = {f"signed_curve25519:{fallback}": self.one_time(fallback, fallback=True)}
        answer = await self.client.call("POST", "/keys/upload", body)
        counts: dict[str, int] = answer["one_time_key_counts"]
        return counts

    async def claim(self, user_id: str, device_id: str) -> str | None:
        """The name of the key that comes of claiming one of a device."""
        wanted = {"one_time_keys": {user_id: {device_id: "signed_curve25519"}}}
        answer = await self.client.call("POST", "/keys/claim", wanted)
        assert answer["failures"] == {}
        keys = answer["one_time_keys"].get(user_id, {}).get(device_id)
        if keys is None:
            return None
        ((name, _),) = keys.items()
        assert name.startswith("signed_curve25519:")
        return str(name.partition(":")[2])

    async def query(self, *user_ids: str) -> Any:
        return await self.client.call("POST", "/keys/query", {"device_keys": {one: [] for one in user_ids}})


class Tree:
    """A user's cross-signing keys. `word` makes another set."""

    def __init__(self, user_id: str, word: str = "") -> None:
        self.user_id = user_id
        self.master, self.self_signing, self.user_signing = (
            Key(f"{kind}{word} {user_id}") for kind in ("m", "s", "u")
        )

    def key(self, usage: str, key: Key) -> dict[str, Any]:
        return {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{key.public}": key.public}}

    def body(self) -> dict[str, Any]:
        return {
            "master_key": self.key("master", self.master),
            "self_signing_key": self.master.sign(self.key("self_signing", self.self_signing), self.user_id),
            "user_signing_key": self.master.sign(self.key("user_signing", self.user_signing), self.user_id),
        }


def password_stage(client: Client, session: str | None = None) -> dict[str, Any]:
    """What a client answers to the 401 of user-interactive authentication."""
    stage = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": client.user_id},
        "password": PASSWORD,
    }
    return stage if session is None else {**stage, "session": session}


async def second_device(client: Client, device_id: str | None = None) -> Client:
    """Another log-in of the same account."""
    body: dict[str, Any] = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": client.user_id},
        "password": PASSWORD,
    }
    if device_id is not None:
        body["device_id"] = device_id
    return Client(client.server, await client.call("POST", "/login", body))


async def encrypted_room(creator: Client, *others: Client) -> str:
    """A room with encryption on and everybody in it."""
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room_id = await creator.create(preset="public_chat", initial_state=[encryption])
    for other in others:
        await other.join(room_id)
    return room_id


def same_json(one: Any, other: Any) -> bool:
    return encode(one) == encode(other)
