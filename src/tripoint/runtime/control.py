"""Where `tripoint` speaks to the server that runs: a socket in its data folder, for whoever may read that.

What is spoken is HTTP, and what is asked is the administrators' API: one way of doing things, for tools and for the
command line. The folder and the socket are their owner's alone, which is the proof of who asks; nothing comes here from
a network.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "control"
# What an address of a Unix socket may have, on every system that has them.
_LONGEST: Final = 100
_OPEN_FILES: Final = "/proc/self/fd"


@contextmanager
def address_of(folder: Path) -> Iterator[str]:
    """The address of the socket in a data folder. Raises OSError where it is too long for a socket."""
    path = folder / NAME
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    if not os.path.isdir(_OPEN_FILES):
        raise OSError(f"{path} is too long for a socket")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_OPEN_FILES}/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def bind_control(folder: Path) -> socket.socket:
    """The socket, in place of one that a killed server left: the caller has the folder's lock. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        (folder / NAME).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            with address_of(folder) as address:
                sock.bind(address)
        finally:
            os.umask(before)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def connect_control(folder: Path, timeout_s: float) -> socket.socket | None:
    """A connection to the server that runs on this folder; None where none does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        with address_of(folder) as address:
            sock.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError:
        sock.close()
        raise
    return sock
