"""Server to server: requests signed and verified, and the endpoints that other servers call.

May import core, rooms, net, matrix. Start at auth.py.
"""
