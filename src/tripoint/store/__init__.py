"""The store: what must last. interface.py is the one door; only runtime and contract tests import the rest.

sqlite.py and memory.py implement it; group_commit.py gathers writes; schema.py and migrations/ give it shape.
"""
