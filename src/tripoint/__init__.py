"""tripoint: a chat server whose every room is at once a Matrix room, an IRC channel and an XMPP MUC.

Start reading at ARCHITECTURE.md, then `tripoint.rooms.service`.
"""

__version__ = "0.1.0"
