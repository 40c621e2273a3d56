"""Fan-out: from one committed change to every session that must hear of it.

May import core, rooms, accounts, bus.interface. hub.py says who hears, delivery.py how bytes leave.
"""
