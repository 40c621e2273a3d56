"""Files: uploads, downloads, thumbnails, what is fetched from other servers, capability URLs.

May import core, net, store.interface, bus.interface, accounts. Start at ports.py, then uploads.py and library.py.
"""
