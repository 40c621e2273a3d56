"""The pages of accounts and the endpoints of OAuth 2.0: logging in by browser, for people of every protocol.

May import core, rooms, accounts, fanout, net. Start at frontend.py; words/ holds what the pages say, a file a language.
"""
