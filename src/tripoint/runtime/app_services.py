"""Application services, wired: the client that reaches them, wherever the operator says they are."""

import asyncio
import socket
from collections.abc import Callable, Sequence

from tripoint import __version__
from tripoint.config.options import Config
from tripoint.core.errors import RemoteFailed
from tripoint.matrix.appservice.services import Bridges, Means
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.outbound import Outbound, client_context
from tripoint.rooms.service_log import ServiceLog
from tripoint.runtime.middle import Middle

# A registration's address is the operator's word, as allow_networks is for what strangers name.
_ANYWHERE = ("0.0.0.0/0", "::/0")


def build_service_client(config: Config) -> Outbound:
    """The client for application services alone; nothing is asked yet. Raises ValueError for authorities that cannot be
    read."""
    context = client_context(config.tls.extra_authorities)
    return Outbound(AddressPolicy(_ANYWHERE), system_addresses, context, f"tripoint/{__version__}")


def build_bridging(
    service_log: ServiceLog, client: Outbound, report: Callable[[str, BaseException], None]
) -> Means:
    return Means(service_log, client.ask, report)


def connect(middle: Middle, bridges: Bridges) -> None:
    """Whoever asks for a name that a service has for itself has the service asked."""
    if bridges.links:
        middle.accounts.ask_for_user = bridges.questions.user
        middle.reader.ask_for_room = bridges.questions.room


async def system_addresses(host: str) -> Sequence[str]:
    """As every program of this machine finds them: /etc/hosts and the names of containers too."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RemoteFailed(host, f"its name is not found: {error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
