"""Commands and changes as bytes: what travels between processes is exactly these values.

Events travel as their PDU with version and id, so nothing is computed twice on the way.
"""

from typing import Any

import msgspec

from tripoint.core.event import Event, load_event
from tripoint.core.ids import EventId
from tripoint.core.room_version import ROOM_VERSIONS
from tripoint.rooms import commands
from tripoint.rooms.changes import RoomChange, UserChange
from tripoint.rooms.commands import Command

AnyChange = RoomChange | UserChange


# msgspec: a hook raises NotImplementedError for a type that it does not know.
def _encode_hook(value: Any) -> Any:
    if isinstance(value, Event):
        return [value.version.id, value.event_id, value.json.decode()]
    raise NotImplementedError(f"{type(value)} does not travel")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is Event:
        version, event_id, json = value
        return load_event(json.encode(), EventId(event_id), ROOM_VERSIONS[version])
    raise NotImplementedError(f"{kind} does not travel")


def _all_commands() -> Any:
    kinds = [kind for kind in vars(commands).values() if isinstance(kind, type) and issubclass(kind, Command)]
    union: Any = None
    for kind in kinds:
        if kind is not Command:
            union = kind if union is None else union | kind
    return union


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_change_decoder: msgspec.msgpack.Decoder[AnyChange] = msgspec.msgpack.Decoder(AnyChange, dec_hook=_decode_hook)
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(_all_commands())


def encode_change(change: AnyChange) -> bytes:
    return _encoder.encode(change)


def decode_change(data: bytes) -> AnyChange:
    """The change of encode_change(). Raises msgspec.DecodeError."""
    return _change_decoder.decode(data)


def encode_command(command: Command) -> bytes:
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """The command of encode_command(). Raises msgspec.DecodeError."""
    return _command_decoder.decode(data)
