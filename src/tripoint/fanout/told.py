"""What became of telling a pusher of something (push.py, digests.py)."""

from enum import Enum


class Told(Enum):
    """What became of it: it is told, or not worth telling; the client is connected and hears it by itself; to be tried
    again; the pusher is there no more."""

    DONE = "done"
    THERE = "there"
    LATER = "later"
    GONE = "gone"
