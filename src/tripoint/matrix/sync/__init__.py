"""/sync: what changed for one device since a token.

server.py waits and assembles; rooms.py makes a room's chunk; filters.py and tokens.py read what clients send.
"""
