"""Accounts: who may log in, with what, from which devices; profiles, account data, rosters.

May import core, store.interface, bus.interface. Start at ports.py, then service.py; sasl.py is pure.
"""
