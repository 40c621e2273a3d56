"""Matrix: the client-server API (federation, application services and push come beside it).

May import core, rooms, accounts, fanout, net; never another front end, never the store. Start at registry.py,
then client/ (one module a family of endpoints) and sync/.
"""
