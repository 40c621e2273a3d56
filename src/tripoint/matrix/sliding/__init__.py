"""Sliding sync (MSC4186): a client names the rooms that it wants to hear of, by lists and by name.

request.py reads what it asks for, connections.py keeps what it was told, places.py and lists.py find the rooms,
rooms.py says what is new in one (with words.py), extensions.py what is not an event; server.py waits and puts the
answer together.
"""
