"""Rooms: the only writer. Commands come in, events are built, checked, stored, and told as changes.

May import core, store.interface and bus.interface. Start at service.py, then writer.py, then room.py.
"""
