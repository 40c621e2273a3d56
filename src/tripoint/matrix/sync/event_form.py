"""How events stand in a sync where its filter wants them otherwise: as they went between servers, or some fields alone.

Rarely asked for, so it is made of what everybody else gets. Of rooms that one is only invited to there is stripped
state, which has one form.
spec: Matrix client-server-api Filter event_format, event_fields; appendices "Dot-separated property paths"
"""

from collections.abc import Sequence

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject, encode_lenient
from tripoint.core.event import Event
from tripoint.core.push_conditions import parse_path

MAX_FIELDS = 100


class EventForm(Struct, frozen=True):
    """`federation`: "the raw event as received over federation", with its id, and `unsigned` as the reader sees it.
    `fields`: paths of what is left in; None: everything."""

    federation: bool = False
    fields: tuple[tuple[str, ...], ...] | None = None

    def of(self, event: Event, rendered: bytes) -> bytes:
        """An event that was rendered for clients, in this form."""
        shown: JsonObject = orjson.loads(rendered)
        if self.federation:
            raw: dict[str, Json] = {**event.pdu, "event_id": event.event_id}
            raw.pop("unsigned", None)
            if "unsigned" in shown:
                raw["unsigned"] = shown["unsigned"]
            shown = raw
        if self.fields is not None:
            shown = _only(shown, self.fields)
        return encode_lenient(shown)


def read_fields(paths: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The paths of event_fields, each once."""
    return tuple(dict.fromkeys(parse_path(path) for path in paths))


def _only(shown: JsonObject, fields: Sequence[tuple[str, ...]]) -> JsonObject:
    found: dict[str, Json] = {}
    for path in fields:
        value: Json = shown
        for member in path:
            if not isinstance(value, dict) or member not in value:
                break
            value = value[member]
        else:
            _put(found, path, value)
    return found


def _put(into: dict[str, Json], path: tuple[str, ...], value: Json) -> None:
    *way, last = path
    for member in way:
        inner = into.setdefault(member, {})
        if not isinstance(inner, dict):
            return  # it is there whole, and is no object
        into = inner
    into[last] = value
