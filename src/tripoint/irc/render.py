"""A committed change as IRC lines: made once, in one form per set of capabilities.

`Outgoing` holds what is said; `form` gives its bytes for one audience and remembers them, so that a thousand
readers cost a thousand list appends and a handful of formattings.  Who gets it is channel.py's.
spec: docs/mapping.md 5, 9, 10, 11; IRCv3 message-tags, server-time, account-tag, message-ids, extended-join.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntFlag
from typing import Final, NamedTuple

from tripoint.irc.wire import MAX_BODY_BYTES, MAX_TAG_DATA_BYTES, Unbuildable, build_tags, seal


class Audience(IntFlag):
    """The capabilities that change what a session is sent. A session's audience is the sum of what it has."""

    NONE = 0
    TAGS = 1
    TIME = 2
    ACCOUNT = 4
    EXTENDED_JOIN = 8
    AWAY_NOTIFY = 16
    INVITE_NOTIFY = 32
    SETNAME = 64
    ACCOUNT_NOTIFY = 128
    REDACTION = 256
    MULTILINE = 512  # with batch, without which it is nothing
    OPERATOR = 1024
    CHGHOST = 2048
    RELAYED = 4096


AUDIENCE_OF_CAP: Final = {
    "message-tags": Audience.TAGS,
    "server-time": Audience.TIME,
    "account-tag": Audience.ACCOUNT,
    "extended-join": Audience.EXTENDED_JOIN,
    "away-notify": Audience.AWAY_NOTIFY,
    "invite-notify": Audience.INVITE_NOTIFY,
    "setname": Audience.SETNAME,
    "account-notify": Audience.ACCOUNT_NOTIFY,
    "draft/message-redaction": Audience.REDACTION,
    "draft/oper-tag": Audience.OPERATOR,
    "chghost": Audience.CHGHOST,
    "draft/relaymsg": Audience.RELAYED,
}


_MULTILINE_CAPS: Final = frozenset({"draft/multiline", "batch"})


def audience_of(caps: Iterable[str]) -> int:
    """The audience of a session with these capabilities, as a plain int (IntFlag arithmetic is slow)."""
    names = frozenset(caps)
    mask = int(Audience.MULTILINE) if names >= _MULTILINE_CAPS else 0
    for cap in names:
        mask |= int(AUDIENCE_OF_CAP.get(cap, 0))
    return mask


_TAGS, _TIME, _ACCOUNT, _JOIN, _OPERATOR = (
    int(flag)
    for flag in (Audience.TAGS, Audience.TIME, Audience.ACCOUNT, Audience.EXTENDED_JOIN, Audience.OPERATOR)
)
_MULTILINE, _RELAYED = int(Audience.MULTILINE), int(Audience.RELAYED)
_FORMS: Final = _TAGS | _TIME | _ACCOUNT | _JOIN | _MULTILINE | _OPERATOR | _RELAYED


class Who(NamedTuple):
    """What tags say of who has done something: the account, whether it is a bot, whether an operator."""

    account: str | None = None
    bot: bool = False
    operator: bool = False


NOBODY: Final = Who()


class Batch(NamedTuple):
    """A message of several lines: `head` is everything of a line before its text, `reference` a name for the batch.

    spec: IRCv3 multiline
    """

    reference: str
    mask: str
    target: str
    head: str
    pieces: list[tuple[str, bool]]

    def lines(self, tags: list[tuple[str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
        """Bodies with their tags; those of the message stand where the batch is opened."""
        inside = [("batch", self.reference)]
        found = [(f":{self.mask} BATCH +{self.reference} draft/multiline {self.target}", tags)]
        for text, goes_on in self.pieces:
            found.append((self.head + text, [*inside, ("draft/multiline-concat", "")] if goes_on else inside))
        found.append((f":{self.mask} BATCH -{self.reference}", []))
        return found


class Outgoing:
    """One thing that is said, as one or more lines, in every form in which somebody may want it.

    `bodies` are lines without tags and CR LF; the first of them carries the message id (MAPPING 11). `untagged` are
    the lines for clients without message-tags, where they differ. `batch` is the whole for clients with multiline.
    `relayed` is (nick of the sender, lines) for clients with relaymsg, where the message goes under another name.
    `requires` is the capability without which a session does not get it at all.
    """

    __slots__ = (
        "_batch",
        "_bodies",
        "_client_tags",
        "_extended",
        "_forms",
        "_msgid",
        "_relayed",
        "_ts_ms",
        "_untagged",
        "_who",
        "requires",
    )

    def __init__(
        self,
        bodies: list[str],
        *,
        ts_ms: int | None = None,
        msgid: str | None = None,
        who: Who = NOBODY,
        client_tags: tuple[tuple[str, str], ...] = (),
        extended: str | None = None,
        untagged: list[str] | None = None,
        batch: Batch | None = None,
        relayed: tuple[str, list[str]] | None = None,
        requires: int = 0,
    ) -> None:
        self._bodies = bodies
        self._untagged = untagged
        self._batch = batch
        self._relayed = relayed
        self._ts_ms = ts_ms
        self._msgid = msgid
        self._who = who
        self._client_tags = client_tags
        self._extended = extended
        self._forms: dict[int, bytes] = {}
        self.requires = requires

    def form(self, audience: int) -> bytes:
        """All lines as bytes for sessions with this audience."""
        key = audience & _FORMS
        data = self._forms.get(key)
        if data is None:
            data = b"".join(seal(body, build_tags(tags)) for body, tags in self.lines(key))
            self._forms[key] = data
        return data

    def is_batch(self, audience: int) -> bool:
        """Whether what `lines` gives for this audience is a batch: the first line opens it, the last closes it."""
        return self._batch is not None and bool(audience & _MULTILINE) and not self._is_relayed(audience)

    def _is_relayed(self, audience: int) -> bool:
        return self._relayed is not None and bool(audience & _RELAYED)

    def lines(self, audience: int) -> list[tuple[str, list[tuple[str, str]]]]:
        """Bodies with their tags, for whoever must add tags of his own (labels, batches)."""
        first = self._tags(audience)
        if self._relayed is not None and audience & _RELAYED:
            nick, bodies = self._relayed
            first.append(("draft/relaymsg", nick))
            rest = [tag for tag in first if tag[0] in _ON_EVERY_LINE]
            return [(body, list(rest if at else first)) for at, body in enumerate(bodies)]
        if self._batch is not None and audience & _MULTILINE:
            return self._batch.lines(first)
        bodies = self._bodies if audience & _TAGS or self._untagged is None else self._untagged
        if audience & _JOIN and self._extended is not None:
            bodies = [self._extended]
        rest = [tag for tag in first if tag[0] in _ON_EVERY_LINE]
        return [(body, list(rest if at else first)) for at, body in enumerate(bodies)]

    def _tags(self, audience: int) -> list[tuple[str, str]]:
        tags: list[tuple[str, str]] = []
        if audience & _TIME and self._ts_ms is not None:
            tags.append(("time", server_time(self._ts_ms)))
        if audience & _TAGS and self._msgid is not None:
            tags.append(("msgid", self._msgid))
        if self._who is not NOBODY:
            account, bot, operator = self._who
            if audience & _ACCOUNT and account is not None:
                tags.append(("account", account))
            if bot and audience & _TAGS:
                # spec: IRCv3 bot-mode
                tags.append(("bot", ""))
            if operator and audience & _OPERATOR:
                # spec: IRCv3 oper-tag: its value identifies the operator
                tags.append(("draft/oper", account or ""))
        if audience & _TAGS:
            # spec: IRCv3 message-tags: server tags come before client-only ones.
            tags.extend(self._client_tags)
        return tags


_ON_EVERY_LINE: Final = frozenset({"time", "account", "bot", "draft/oper", "draft/relaymsg"})


def server_time(ts_ms: int) -> str:
    """``2026-01-31T12:34:56.789Z``.  spec: IRCv3 server-time"""
    seconds, milliseconds = divmod(ts_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


_last_second: tuple[int, str] = (-1, "")


def _second(seconds: int) -> str:
    """The calendar costs a microsecond, and the second is nearly always the same one."""
    global _last_second
    if _last_second[0] != seconds:
        try:
            text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
        except (OverflowError, OSError, ValueError):
            # A remote server can date its events as it likes; years with five digits are not ISO 8601.
            text = "1970-01-01T00:00:00"
        _last_second = (seconds, text)
    return _last_second[1]


def safe_client_tags(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Those client-only tags that can be sent: well-named, and within the limit together."""
    kept: list[tuple[str, str]] = []
    size = 0
    for key, value in pairs:
        if not key.startswith("+") or not is_tag_key(key):
            continue
        size += len(build_tags([(key, value)]).encode("utf-8", "replace")) + 1
        if size > MAX_TAG_DATA_BYTES - 300:
            break
        kept.append((key, value.encode("utf-8", "replace").decode()))
    return tuple(kept)


def is_tag_key(key: str) -> bool:
    """Whether a key can stand on a wire. Odd ones are tolerated coming in (message-tags), not sent on."""
    return 1 <= len(key) <= 128 and key.isascii() and all(c.isalnum() or c in "+-./_" for c in key)


def one_line(text: str) -> str:
    """Text of the middle as part of one line: line breaks as `` | ``, NUL gone (MAPPING 8.1)."""
    if "\n" in text or "\r" in text:
        text = " | ".join(line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line)
    return text.replace("\0", "")


def as_word(text: str) -> str:
    """An address, or a mask of some, as a middle parameter: none may begin with a colon. IRCv3 webirc has the zero."""
    return f"0{text}" if text.startswith(":") else text


def cut(text: str, limit_bytes: int) -> str:
    """`text` within `limit_bytes`, with ``...`` if something is missing (MAPPING 8.1)."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    return data[: limit_bytes - 3].decode("utf-8", "ignore") + "..."


def server_line(server: str, command: str, params: tuple[str, ...]) -> str:
    """A line from the server, its last parameter cut to the line. The body of every reply."""
    if not params:
        return f":{server} {command}"
    head = " ".join([f":{server}", command, *params[:-1]])
    last = params[-1]
    # Numerics end in text for people and always have the colon; COMPAT: some scripts look for it.
    if command.isdigit() or not last or " " in last or last[0] == ":":
        return fitted(head, last)
    word = one_line(last)
    if " " in word or len(head.encode("utf-8", "replace")) + 1 + len(word.encode("utf-8", "replace")) > MAX_BODY_BYTES:
        return fitted(head, last)
    return f"{head} {word}"


def fitted(head: str, text: str) -> str:
    """``head :text`` as a whole line body, the text cut to what the line leaves for it."""
    room = 510 - len(head.encode("utf-8", "replace")) - 2
    if room < 4:
        raise Unbuildable("no room for the text of a line")
    return f"{head} :{cut(one_line(text), room)}"
