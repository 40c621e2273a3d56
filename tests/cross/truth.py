"""What docs/mapping.md 7 makes of a room's state, worked out anew: what tests hold the views against.

spec: docs/mapping.md 7, 7.10; Matrix client-server m.room.power_levels
"""

from collections.abc import Iterable
from typing import Any

from tripoint.core.ids import UserId
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room
from tripoint.rooms.writer import Writer

# docs/mapping.md 7, the table: what a rank looks like on IRC and on XMPP.
LETTERS = {"owner": "qo", "admin": "ao", "op": "o", "halfop": "h", "voice": "v"}
STANDINGS = {
    "owner": ("owner", "moderator"),
    "admin": ("admin", "moderator"),
    "op": ("admin", "moderator"),
    "halfop": ("member", "moderator"),
    "voice": ("member", "participant"),
}


class Truth:
    """The room as its state events say, by the table and by the specification of m.room.power_levels."""

    def __init__(self, state: list[dict[str, Any]]) -> None:
        at = {(event["type"], event["state_key"]): event for event in state}
        self.levels: dict[str, Any] = at["m.room.power_levels", ""]["content"]
        self.creator: str = at["m.room.create", ""]["sender"]
        self.v12: bool = at["m.room.create", ""]["content"]["room_version"] == "12"
        # A resolution may leave none: then nobody comes in unasked.
        rule = at.get(("m.room.join_rules", ""), {"content": {}})
        self.public: bool = rule["content"].get("join_rule") == "public"
        self.members = {
            key[1]: event["content"]["membership"] for key, event in at.items() if key[0] == "m.room.member"
        }
        events = self.levels.get("events", {})
        self.ban: int = self.levels.get("ban", 50)
        self.kick: int = self.levels.get("kick", 50)
        self.own: int = events.get("m.room.power_levels", self.levels.get("state_default", 50))
        self.speak: int = events.get("m.room.message", self.levels.get("events_default", 0))
        self.default: int = self.levels.get("users_default", 0)

    def level(self, user_id: str) -> float:
        if self.v12 and user_id == self.creator:
            return float("inf")
        return float(self.levels.get("users", {}).get(user_id, self.default))

    def rank(self, user_id: str) -> str:
        p = self.level(user_id)
        if p >= max(self.own, self.ban):
            return "owner"
        if p >= self.ban:
            return "admin" if p >= 75 else "op"
        if p > self.default and p >= self.kick:
            return "halfop"
        if p >= self.speak:
            return "voice" if p > self.default else "plain"
        return "muted" if p < 0 else "unvoiced"

    def letters(self, user_id: str) -> str:
        rank = self.rank(user_id)
        # 7.10: where nobody can be an op without being an owner, ops are shown as owners.
        return "qo" if rank == "op" and self.own <= max(50, self.ban) else LETTERS.get(rank, "")

    def standing(self, user_id: str) -> tuple[str, str]:
        rank = self.rank(user_id)
        ordinary = ("none" if self.public else "member", "participant" if rank == "plain" else "visitor")
        return STANDINGS.get(rank, ordinary)


def truth_of(room: RoomView) -> Truth:
    """What the state says that the room is in now."""
    return Truth(
        [
            {"type": event.type, "state_key": event.state_key, "sender": event.sender, "content": event.content}
            for event in room.state.values()
        ]
    )


def check_rules(writer: Writer, room: Room, truth: Truth, inside: Iterable[str]) -> None:
    """Build, and throw away, what a rank is there for, on somebody at the bottom who is in nobody's way.

    `inside` are members on the writer's server.
    """

    def may(actor: str, type_: str, content: dict[str, Any], state_key: str | None = None) -> bool:
        try:
            writer.begin(room).append(UserId(actor), type_, content, state_key=state_key)
        except Refused:
            return False
        return True

    stranger = "@stranger:example.org"
    for actor in inside:
        rank = truth.rank(actor)
        assert may(actor, "m.room.message", {"body": "x"}) is (truth.level(actor) >= truth.speak)
        # Voice and above speak; who is silenced by name or by +m does not.
        if rank in ("voice", "plain"):
            assert truth.level(actor) >= truth.speak
        if rank in ("muted", "unvoiced"):
            assert not may(actor, "m.room.message", {"body": "x"})
        if truth.level(actor) > truth.default:
            bans = may(actor, "m.room.member", {"membership": "ban"}, stranger)
            assert bans is (rank in ("owner", "admin", "op")), f"{actor} is {rank}"
        if rank == "owner":
            assert may(actor, "m.room.power_levels", truth.levels, "")
