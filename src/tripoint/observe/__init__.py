"""Logs and metrics. Imported by runtime; others take a logger by name from structlog.

No message texts, passwords or tokens: log.py drops fields that could hold them.
"""
