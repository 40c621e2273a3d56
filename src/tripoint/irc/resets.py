"""State that changed without an event: what IRC was told and is not so any more is undone, by the server's name.

A resolution of forks can decide against an event that everybody was shown, and bring back what it had replaced.
Clients keep their own picture of a channel, so they are told the way from the old picture to the new one.
spec: docs/mapping.md 5.5, 21.5.  Read next: tripoint/irc/events.py.
"""

from __future__ import annotations

from tripoint.irc.channel import Channel
from tripoint.irc.events import By, flag_modes, mask_lines, member_lines, membership, rank_modes, topic_line
from tripoint.irc.render import NOBODY, Outgoing
from tripoint.rooms.changes import StateReset


def reset_lines(channel: Channel, change: StateReset, ts_ms: int) -> list[Outgoing]:
    """KICK, PART, JOIN, MODE and TOPIC; `ts_ms` is when it was found out.

    A PART or JOIN has to come from the user for clients to understand it; everything else is the server's.
    """
    by = By(channel.names.server, NOBODY, ts_ms)
    gone: list[Outgoing] = []
    came: list[Outgoing] = []
    topic: list[Outgoing] = []
    masks: list[Outgoing] = []
    for before, after in change.changed:
        some = after or before
        if some is None:
            continue
        if some.type == "m.room.member":
            lines = member_lines(channel, before, after, by)
            (came if membership(after) == "join" else gone).extend(lines)
        elif some.key == ("m.room.topic", ""):
            topic.append(topic_line(channel, by, channel.room.topic or ""))
        else:
            masks += mask_lines(channel, before, after, by)
    # Who goes goes first: a nick or a rank may pass to who comes.
    return [*gone, *came, *rank_modes(channel, by), *flag_modes(channel, by), *masks, *topic]
