"""XMPP between servers: streams to and from other domains, and how each side proves its name.

incoming.py and outgoing.py are the two state machines, pure; wire.py moves their bytes; links.py keeps a stream and a
queue for each pair of domains. What the stanzas mean is c2s/foreign.py's. Start at links.py.
"""
