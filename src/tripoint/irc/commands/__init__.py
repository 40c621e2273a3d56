"""One module per family of commands; importing this package declares them all.

A handler translates: wire words to a command of the middle, and back. It decides nothing about a room and
touches neither store nor other sessions. May import what irc/ may. Start at channels.py.
"""

from importlib import import_module
from pkgutil import iter_modules

# A new command is one new file: no list elsewhere to edit.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
