"""Listening sockets."""

import socket


def bind(host: str, port: int) -> socket.socket:
    """A bound, non-blocking TCP socket. Raises OSError, with the address in its text, where that is taken.

    SO_REUSEADDR: a restarted server takes over its ports at once. An IPv6 socket serves IPv6 alone unless it
    is the wildcard, which serves both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{host} port {port}: {error.strerror}") from error
    return sock
