"""Programs that have a domain of their own beside this server's: gateways, bots, services (XEP-0114).

stream.py is the state machine, pure; service.py keeps who is connected and passes stanzas on. Where stanzas between
them, our people and other servers go is outside.py's, one folder up. Start at service.py.
"""
