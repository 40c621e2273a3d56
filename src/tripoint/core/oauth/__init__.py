"""OAuth 2.0 as rules without I/O: what clients say of themselves, what they ask for, what is answered.

Imports core alone. Start at clients.py, then requests.py. Who keeps clients, codes and sessions: accounts/oauth; the
endpoints and pages: the package oauth.
"""
