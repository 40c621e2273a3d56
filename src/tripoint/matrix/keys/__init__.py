"""Signing keys of servers: publishing our own, fetching and keeping those of others, vouching for them as notary.

May import core, net, matrix. Start at document.py, then ring.py.
"""
