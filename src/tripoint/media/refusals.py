"""Every way in which something about a file is refused. Closed; each front end that has to do with files maps it whole.

The value is the sentence that the person sees, on every protocol the same.
"""

from enum import Enum


class MediaRefusal(Enum):
    TOO_LARGE = "The file is too large for this server"
    QUOTA = "You have uploaded as much as this server keeps for one account"
    TOO_MANY_PENDING = "You have too many uploads that have not come yet"
    GUEST = "Guests cannot upload files"
    NOT_FOUND = "There is no such file"
    NOT_YET_UPLOADED = "The file has not been uploaded yet"
    ALREADY_UPLOADED = "There is a file of that name already"
    NOT_YOURS = "That name was given to somebody else"
    NOT_ANNOUNCED = "The file is not the one that was announced"
    NO_THUMBNAIL = "No thumbnail can be made of this file"
    IMAGE_TOO_LARGE = "The image is too large to make a thumbnail of"
    REMOTE_TOO_LARGE = "The file on the other server is too large for this one"
    REMOTE_FAILED = "The other server did not give the file"
    BAD_LINK = "That is no web address of which this server makes previews"
    NO_PREVIEW = "No preview can be made of what is there"
    TOO_MANY_PREVIEWS = "You ask for too many previews; try again later"
    SERVER_BUSY = "The server cannot store this right now; nothing was changed"


class MediaRefused(Exception):
    """Something about a file was refused; nothing was changed. `retry_after_ms` goes with TOO_MANY_PENDING."""

    def __init__(self, refusal: MediaRefusal, text: str | None = None, *, retry_after_ms: int | None = None) -> None:
        self.refusal = refusal
        self.text = text if text is not None else refusal.value
        self.retry_after_ms = retry_after_ms
        super().__init__(self.text)
