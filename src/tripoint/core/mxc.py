"""mxc:// names of files.

spec: Matrix client-server-api "Matrix Content (mxc://) URIs", content-repo-security-considerations
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tripoint.core.ids import InvalidId, ServerName, parse_server_name

# No dot, slash or percent sign gets anywhere near a path. What servers make is some 20 to 60 characters.
_MEDIA_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_SCHEME: Final = "mxc://"


@dataclass(frozen=True, slots=True, order=True)
class Mxc:
    """The name of a file: the server it was uploaded to, and that server's name for it."""

    server: ServerName
    media_id: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.server}/{self.media_id}"


def make_mxc(server: str, media_id: str) -> Mxc:
    """A name of its two parts, as they stand in the path of a request. Raises InvalidId."""
    if _MEDIA_ID.match(media_id) is None:
        raise InvalidId("a media id has letters, digits, '_' and '-' alone")
    return Mxc(parse_server_name(server), media_id)


def parse_mxc(text: str) -> Mxc:
    """An mxc:// URI. Raises InvalidId."""
    if not text.startswith(_SCHEME):
        raise InvalidId("not an mxc:// URI")
    server, slash, media_id = text.removeprefix(_SCHEME).partition("/")
    if not slash:
        raise InvalidId("an mxc:// URI names a server and a file")
    return make_mxc(server, media_id)
