"""Sync over a WebSocket: the same requests and answers, one after the other on one connection (this project's own).

dialogue.py says what may be said when, session.py speaks it; docs/clients/sync-socket.md describes it for clients.
"""
