"""Who other servers are: our keys, theirs, the way to them, and the gate for their requests, joined up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.matrix.federation.client import FederationClient, Resolve
from tripoint.matrix.federation.gate import FederationGate
from tripoint.matrix.federation.intake import TransactionEndpoints
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.federation.sender import Sender
from tripoint.matrix.keys.document import SAME_IDENTITY, parse_key_document
from tripoint.matrix.keys.own import OwnKeys
from tripoint.matrix.keys.ports import KeyStore
from tripoint.matrix.keys.ring import KeyRing
from tripoint.net.outbound import Outbound
from tripoint.rooms.invitations import Invitations
from tripoint.rooms.resident import Resident
from tripoint.rooms.serving import Serving
from tripoint.rooms.third_party_invites import ThirdPartyInvites


@dataclass(frozen=True, slots=True)
class Federated:
    """What the endpoints for other servers are given."""

    trust: "Trust"
    serving: Serving
    resident: Resident
    invitations: Invitations
    third_party: ThirdPartyInvites
    transactions: TransactionEndpoints
    sender: Sender


class Trust:
    """What the federation endpoints and, later, senders and receivers stand on."""

    def __init__(
        self,
        own: OwnKeys,
        store: KeyStore,
        outbound: Outbound,
        resolve: Resolve,
        notaries: Sequence[ServerName],
        now_ms: Callable[[], int],
    ) -> None:
        self._now_ms = now_ms
        self.own = own
        self.client = FederationClient(own.server, own.key, outbound, resolve)
        self.ring = KeyRing(own, store, self.client, notaries, now_ms)
        self.gate = FederationGate(own.server, self.ring)
        self.check = PduCheck(self.ring)

    async def has_same_identity(self, server: ServerName) -> bool:
        """Whether a server says, signed by its keys, that the people of the XMPP domain of its name are its own.

        Raises RemoteFailed where it cannot be asked. docs/mapping.md 1.6
        """
        try:
            document = parse_key_document(await self.client.server_keys(server), server, self._now_ms())
        except PeerError as error:
            raise RemoteFailed(server, f"its keys are not well-formed: {error}") from error
        return document.json.get(SAME_IDENTITY) is True

    async def close(self) -> None:
        """Give up what is being fetched."""
        await self.ring.close()
