"""What push gateways are sent, and what their answers mean. Pure.

spec: Matrix push-gateway-api POST /_matrix/push/v1/notify
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson

from tripoint.accounts.pushers import Pusher
from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import texts_at
from tripoint.rooms.pushing import Alert

PATH: Final = "/_matrix/push/v1/notify"
ONLY_IDS: Final = "event_id_only"
# Events are up to 64 KiB; with names and data a gateway gets hardly more.
LIMIT_BYTES: Final = 64 * 1024


def check_gateway(url: str) -> bool:
    """Whether this is where a gateway can be. spec: "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`"."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False
    return usable and parts.path == PATH and not parts.fragment and url.isprintable() and url.isascii()


def host_of(url: str) -> str:
    """What may be said of an address in a log: the rest may be a secret between client and gateway."""
    return urlsplit(url).hostname or ""


def notification(pusher: Pusher, alert: Alert | None, unread: int) -> bytes:
    """The body of a request: about an event, or (None) about how much is unread alone."""
    device: JsonObject = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.set_ts_ms // 1000,
        "data": {key: value for key, value in pusher.data.items() if key != "url"},
    }
    told: JsonObject = {"devices": [device]}
    if alert is None:
        # Only here is zero said: it is the news.
        told["counts"] = {"unread": unread}
        return orjson.dumps({"notification": told})
    # spec: "Counts whose value is zero should be omitted"
    told["counts"] = {"unread": unread} if unread else {}
    told["event_id"] = alert.event.event_id
    told["room_id"] = alert.place.room_id
    told["prio"] = "high" if alert.verdict.highlight or "sound" in alert.verdict.tweaks else "low"
    if pusher.data.get("format") != ONLY_IDS:
        device["tweaks"] = dict(alert.verdict.tweaks)
        _describe(told, alert)
    return orjson.dumps({"notification": told})


def _describe(told: JsonObject, alert: Alert) -> None:
    event = alert.event
    told |= {"type": event.type, "sender": event.sender, "content": event.content}
    names = {
        "sender_display_name": alert.sender_name,
        "room_name": alert.room_name,
        "room_alias": alert.room_alias,
    }
    told |= {name: value for name, value in names.items() if value}
    if event.type == "m.room.member":
        told["user_is_target"] = alert.about_reader


def rejected(body: bytes) -> Sequence[str]:
    """The push keys that a gateway does not want to see again. Nothing, where it answers something else."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ()
    return texts_at(answer, "rejected") if isinstance(answer, dict) else ()
