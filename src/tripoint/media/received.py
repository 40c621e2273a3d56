"""An address that somebody pastes becomes the file: what IRC and XMPP clients do after an upload.

spec: docs/mapping.md 12.3, 12.4. Addresses of other places stay text: this server fetches nothing for them.
"""

from tripoint.core.attachment import attachment_content
from tripoint.core.canonical_json import JsonObject
from tripoint.core.file_facts import FileFacts, sha_256
from tripoint.core.ids import UserId
from tripoint.media.links import Links
from tripoint.media.ports import FileLibrary
from tripoint.media.refusals import MediaRefused
from tripoint.media.thumbnails import Thumbnails


class ReceivedLinks:
    """media.ports.Received."""

    def __init__(self, links: Links, library: FileLibrary, thumbnails: Thumbnails) -> None:
        self._links = links
        self._library = library
        self._thumbnails = thumbnails

    async def content(self, url: str, user_id: UserId) -> JsonObject | None:
        mxc = await self._links.upload_of(url, user_id)
        if mxc is None:
            return None
        try:
            file = await self._library.find(mxc)
        except MediaRefused:
            return None
        facts = FileFacts(hashes=(sha_256(file.content),))
        dimensions = await self._thumbnails.measure(file)
        return attachment_content(mxc, file.filename, file.type, file.size, dimensions, facts)

    async def thumbnail(self, url: str, user_id: UserId) -> str | None:
        mxc = await self._links.upload_of(url, user_id)
        return None if mxc is None else str(mxc)
