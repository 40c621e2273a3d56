"""The XMPP front end: c2s streams and, at its heart, Multi-User Chat.

May import core, rooms, accounts, media, fanout, net; never irc, matrix or store. Start at wire.py, then
connection.py (both pure), then session.py and registry.py; c2s/ and muc/ hold the handlers.
"""
