"""IRC: RFC 1459, 2812 and IRCv3. Imports core, rooms, accounts, fanout, net; no other front end, no store.

Start with wire.py (lines), connection.py (up to 001), session.py, then commands/; render.py is the way out.
"""
