"""The bus: how changes travel from the writer to every process that serves sessions.

Imports core only. interface.py is the one door; local.py serves a single process.
"""
