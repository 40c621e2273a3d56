"""Personal eventing: what an account publishes at its bare JID, and who hears of it.

Imports what xmpp may import. Start at service.py, then requests.py. Nodes that are views of something else (what rooms
somebody is in, what he has read, what he is called) are files of their own. Importing this package fills the registry.
"""

from tripoint.xmpp.pep import discovery, private, requests

__all__ = ["discovery", "private", "requests"]
