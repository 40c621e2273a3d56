"""The network: listeners, TLS, the HTTP front, address policy.

May import core, rooms, accounts, config. Knows no protocol's vocabulary.
"""
