"""The only wiring: which implementation stands behind which port, what starts and stops in which order.

May import everything. middle.py joins store, rooms, accounts and fan-out; app.py adds the front ends.
"""
