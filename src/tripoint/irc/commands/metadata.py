"""Keys and values of users and channels: METADATA.

Clients that are not connected yet ask for it too: tripoint/irc/early.py.
spec: IRCv3 metadata; docs/mapping.md 2.3, 8.11, 17.3.  What keys there are: tripoint/irc/metadata.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import text_at
from tripoint.core.push_changes import TooManyRules
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.early import NOBODY, NOT_YET, EarlySession
from tripoint.irc.metadata import AVATAR, CAPABILITY, NAME, ROOM_AVATAR, Values, field_of, is_key
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import server_line
from tripoint.irc.room_settings import MUTED, ON, PINNED, SETTINGS, VALUES
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_METADATA_BYTES, MAX_METADATA_KEYS, MAX_METADATA_SUBS
from tripoint.irc.wire import Line, Unbuildable
from tripoint.rooms.commands import SendState, SetProfile
from tripoint.rooms.refusals import Refusal, Refused

_Tagged = tuple[str, list[tuple[str, str]]]
# Keys in one line of RPL_METADATASUBOK and its kin.
_KEYS_BYTES: Final = 380


class _Target:
    """Whom or what a command is about. `name` is what the client called it."""

    __slots__ = ("channel", "name", "user_id")

    def __init__(self, name: str, user_id: UserId | None, channel: Channel | None) -> None:
        self.name = name
        self.user_id = user_id
        self.channel = channel


@command("METADATA", min_params=2, spec="IRCv3 metadata")
async def metadata(session: IrcSession, line: Line) -> None:
    """METADATA <target> GET|LIST|SET|CLEAR|SUB|UNSUB|SUBS|SYNC [<parameters>]."""
    if CAPABILITY not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "METADATA", f"Ask for the {CAPABILITY} capability first")
    handle = _SUBCOMMANDS.get(line.params[1].upper())
    if handle is None:
        raise Failed("SUBCOMMAND_INVALID", echo(line.params[1]), text="There is no such subcommand")
    if not line.utf8:
        raise Failed("VALUE_INVALID", text="Metadata is UTF-8")
    await handle(session, await _target(session, line.params[0]), line.params[2:])


async def _target(session: IrcSession, word: str) -> _Target:
    if word == "*":
        return _Target(session.nick, session.user_id, None)
    if isinstance(session, EarlySession):
        raise Failed("INVALID_TARGET", echo(word), text=f"Before you are connected you are {NOBODY}")
    try:
        if word.startswith("#"):
            channel = await session.channel_named(word)
            return _Target(channel.name, None, channel)
        user_id = await session.user_named(word)
    except IrcRefused:
        raise Failed("INVALID_TARGET", echo(word), text="No such user, or channel that you are in") from None
    return _Target(session.names.nick(user_id), user_id, None)


async def _values(session: IrcSession, target: _Target) -> Values:
    store = session.network.metadata
    if target.channel is not None:
        return await store.of_channel_for(session, target.channel)
    assert target.user_id is not None  # a target is one of the two
    if session.account is NOT_YET:
        return {}
    return await store.of_user(target.user_id)


# --- reading -------------------------------------------------------------------------------------------------


async def _get(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    _check_some(words)
    values = await _values(session, target)
    lines: list[_Tagged] = []
    for key in words:
        if not is_key(key):
            text = "That is no name for a key"
            lines += _lines(session, "FAIL", "METADATA", "KEY_INVALID", echo(key), text)
        elif key in values:
            lines += _key_value(session, target, key, values[key])
        else:
            lines += _lines(session, n.RPL_KEYNOTSET, session.nick, target.name, key, "key not set")
    session.own_batch("metadata", (target.name,), lines)


async def _list(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    values = await _values(session, target)
    lines = [one for key, value in values.items() for one in _key_value(session, target, key, value)]
    session.own_batch("metadata", (target.name,), lines)


async def _sync(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    store = session.network.metadata
    if target.channel is not None:
        found = await store.synced(session, target.channel, session.subscribed)
    else:
        values = await _values(session, target)
        wanted = [(key, value) for key, value in values.items() if key in session.subscribed]
        made = [store.line(session.names.server, target.name, key, value) for key, value in wanted]
        found = [line for line in made if line is not None]
    session.own_batch("metadata", (target.name,), [(line, []) for line in found])


def _key_value(session: IrcSession, target: _Target, key: str, value: str) -> list[_Tagged]:
    return _lines(session, n.RPL_KEYVALUE, session.nick, target.name, key, "*", value)


def _lines(session: IrcSession, numeric: str, *params: str) -> list[_Tagged]:
    """One line, its text cut to it; none where the names in it leave no room."""
    try:
        return [(server_line(session.names.server, numeric, params), [])]
    except Unbuildable:
        return []


# --- writing -------------------------------------------------------------------------------------------------


async def _set(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    _check_some(words)
    key, value = words[0], words[1] if len(words) > 1 else None
    if not is_key(key):
        raise Failed("KEY_INVALID", echo(key), text="That is no name for a key")
    if value is not None and len(value.encode("utf-8", "surrogatepass")) > MAX_METADATA_BYTES:
        raise Failed("VALUE_INVALID", text=f"A value has at most {MAX_METADATA_BYTES} bytes")
    _check_may_set(session, target, key)
    values = await _values(session, target)
    if value is None and key not in values:
        raise Failed("KEY_NOT_SET", target.name, key, text="That key is not set")
    if value is not None and key not in values and len(values) >= MAX_METADATA_KEYS:
        raise Failed("LIMIT_REACHED", target.name, text=f"You may set {MAX_METADATA_KEYS} keys")
    if target.channel is not None and key in SETTINGS:
        value = await _settle(session, target.channel, key, value)
    else:
        await _write(session, target, key, value)
    if key == AVATAR and value is not None:
        # What it leads to is the same; the address is the one of the profile or the channel from now on.
        value = (await _values(session, target)).get(key, value)
    if value is None:
        session.numeric(n.RPL_KEYNOTSET, target.name, key, "key not set")
    else:
        session.numeric(n.RPL_KEYVALUE, target.name, key, "*", value)


def _check_may_set(session: IrcSession, target: _Target, key: str) -> None:
    """KEY_NO_PERMISSION for what is another's, and for what has no place in a profile or a room."""
    text = None
    if target.channel is not None:
        if key in SETTINGS:
            text = "A guest keeps no settings; log in with an account" if session.account.guest else None
        elif key not in (NAME, AVATAR):
            text = f"Of a channel {NAME} and {AVATAR} can be set, and for yourself {PINNED} and {MUTED}"
    elif target.user_id != session.user_id:
        text = "You may set your own metadata alone"
    elif field_of(key) is None:
        text = "This server keeps no such key"
    elif session.account.guest:
        text = "A guest has a nick and nothing else; log in with an account"
    if text is not None:
        raise Failed("KEY_NO_PERMISSION", target.name, key, text=text)


async def _settle(session: IrcSession, channel: Channel, key: str, value: str | None) -> str | None:
    """Set what the user has for himself about a channel; the value as it is kept, None: it is not set."""
    on = False if value is None else VALUES.get(value.lower())
    if on is None:
        raise Failed("VALUE_INVALID", text=f"The value of {key} is 1 or 0")
    session.changing_metadata = key
    try:
        await session.network.metadata.settings.set(session.user_id, channel.room_id, key, on)
    except TooManyRules as error:
        raise Failed("LIMIT_REACHED", channel.name, text="You have too many push rules") from error
    finally:
        session.changing_metadata = None
    return ON if on else None


async def _write(session: IrcSession, target: _Target, key: str, value: str | None) -> None:
    session.changing_metadata = key
    try:
        if key == AVATAR and value is not None:
            value = await _uploaded(session, value)
        if target.channel is not None:
            content: JsonObject = {} if value is None else {"url" if key == AVATAR else "name": value}
            await session.do(
                SendState(
                    actor=session.user_id,
                    origin=session.origin(),
                    room_id=target.channel.room_id,
                    type=ROOM_AVATAR if key == AVATAR else "m.room.name",
                    state_key="",
                    content=content,
                )
            )
        else:
            field = field_of(key)
            assert field is not None  # _check_may_set has looked
            await session.do(SetProfile(actor=session.user_id, field=field, value=value, origin=session.origin()))
    except Refused as refused:
        if refused.refusal is Refusal.RATE_LIMITED:
            seconds = max(1, (refused.retry_after_ms or 1000) // 1000)
            raise Failed("RATE_LIMITED", target.name, key, str(seconds), text=refused.text) from refused
        if refused.refusal is Refusal.TOO_LARGE:
            raise Failed("LIMIT_REACHED", target.name, text=refused.text) from refused
        raise Failed("KEY_NO_PERMISSION", target.name, key, text=refused.text) from refused
    finally:
        session.changing_metadata = None


async def _uploaded(session: IrcSession, url: str) -> str:
    """The mxc:// name of a picture that the client has uploaded and got this address for."""
    content = await session.network.media.received.content(url, session.user_id)
    mxc = None if content is None else text_at(content, "url")
    if mxc is None:
        raise Failed("VALUE_INVALID", text="Upload the picture to this server, and set the address that you get")
    return mxc


async def _clear(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    """All keys but the name, by which everybody is called everywhere. The picture goes with them."""
    if target.user_id != session.user_id or session.account.guest:
        raise Failed("KEY_NO_PERMISSION", target.name, "*", text="You may clear your own metadata alone")
    lines: list[_Tagged] = []
    for key, value in (await _values(session, target)).items():
        if key == NAME:
            text = f"{NAME} is what you are called everywhere; set another one"
            lines += _lines(session, "FAIL", "METADATA", "KEY_NO_PERMISSION", target.name, key, text)
            continue
        await _write(session, target, key, None)
        lines += _key_value(session, target, key, value)
    session.own_batch("metadata", (target.name,), lines)


# --- subscriptions -------------------------------------------------------------------------------------------


async def _sub(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    done: list[str] = []
    fresh: list[str] = []
    _check_some(words)
    for key in words:
        if key not in session.subscribed and len(session.subscribed) >= MAX_METADATA_SUBS:
            session.standard("FAIL", "METADATA", "TOO_MANY_SUBS", echo(key), text="Too many subscriptions")
            break
        if not is_key(key):
            session.standard("FAIL", "METADATA", "KEY_INVALID", echo(key), text="That is no name for a key")
            continue
        if key not in session.subscribed:
            session.subscribed += (key,)
            fresh.append(key)
        done.append(key)
    _name_keys(session, n.RPL_METADATASUBOK, done)
    for channel in list(session.channels.values()) if fresh else ():
        if not channel.direct:
            session.network.spawn(session.network.metadata.show_later(session, channel, frozenset(fresh)))
    if fresh:
        session.network.metadata.show_watched(session, fresh)


def _check_some(words: tuple[str, ...]) -> None:
    """Raise IrcRefused(461) where no key is named."""
    if not words:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "METADATA", "Not enough parameters")


async def _unsub(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    _check_some(words)
    done: list[str] = []
    for key in words:
        if is_key(key):
            session.subscribed = tuple(other for other in session.subscribed if other != key)
            done.append(key)
        else:
            session.standard("FAIL", "METADATA", "KEY_INVALID", echo(key), text="That is no name for a key")
    _name_keys(session, n.RPL_METADATAUNSUBOK, done)


async def _subs(session: IrcSession, target: _Target, words: tuple[str, ...]) -> None:
    lines: list[_Tagged] = []
    for part in _parts(list(session.subscribed)):
        lines += _lines(session, n.RPL_METADATASUBS, session.nick, *part)
    session.own_batch("metadata-subs", (), lines)


def _name_keys(session: IrcSession, numeric: str, keys: list[str]) -> None:
    for part in _parts(keys):
        session.numeric(numeric, *part)


def _parts(keys: list[str]) -> list[list[str]]:
    """Keys, as many as go into one line each."""
    parts: list[list[str]] = []
    room = 0
    for key in keys:
        if not parts or room < len(key) + 1 or len(parts[-1]) >= 10:
            parts.append([])
            room = _KEYS_BYTES
        parts[-1].append(key)
        room -= len(key) + 1
    return parts


_SUBCOMMANDS: Final[dict[str, Callable[[IrcSession, _Target, tuple[str, ...]], Awaitable[None]]]] = {
    "GET": _get,
    "LIST": _list,
    "SET": _set,
    "CLEAR": _clear,
    "SUB": _sub,
    "UNSUB": _unsub,
    "SUBS": _subs,
    "SYNC": _sync,
}
