"""FILEHOST TOKEN: to upload a file by HTTP without showing it the account's password.

spec: IRCv3 filehost; docs/mapping.md 12.3.  Read next: tripoint/media/web.py.
"""

from __future__ import annotations

from tripoint.irc import numerics as n
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line


@command("FILEHOST", min_params=1, cost=2, spec="IRCv3 filehost")
async def filehost(session: IrcSession, line: Line) -> None:
    """FILEHOST TOKEN: a token with which to upload files for some minutes, to the address that ISUPPORT names."""
    media = session.network.media
    if media.links.upload_url is None:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "FILEHOST", "Unknown command")
    if line.param(0).upper() != "TOKEN":
        raise Failed("INVALID_PARAMS", echo(line.param(0)), text="There is FILEHOST TOKEN alone")
    if session.account.guest:
        raise Failed("ACCOUNT_REQUIRED", "TOKEN", text="Guests upload no files; log in first")
    session.reply("FILEHOST", "TOKEN", media.upload_access.make(session.user_id))
