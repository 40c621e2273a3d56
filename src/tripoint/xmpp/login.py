"""What a client says of who it is: the messages of its SASL exchanges, as questions for the accounts. Pure.

In either profile (RFC 6120 and XEP-0388) and with any mechanism. Who is let in is the driver's to say (stream.py), when
a message may come connection.py's.
spec: RFC6120 6; XEP-0388 2; XEP-0178 2; XEP-0474 6.1; XEP-0484 3.4; XEP-0175 4
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tripoint.accounts.sasl import (
    Anonymous,
    AnonymousExchange,
    BearerExchange,
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    Done,
    Exchange,
    HashedToken,
    NeedCredentials,
    SaslCondition,
    SaslFailed,
    ScramVerifier,
    start_exchange,
    token_mechanisms,
)
from tripoint.core.tls_facts import TlsFacts
from tripoint.xmpp.actions import Authenticated
from tripoint.xmpp.features import Policy
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, prepare_local, unescape_local
from tripoint.xmpp.sasl_profiles import Profile, Sasl1, Sasl2, Wishes
from tripoint.xmpp.wire import Element

Question = NeedCredentials | CheckPassword | CheckCertificate | CheckToken | HashedToken | Anonymous | Authenticated


class Login:
    """One stream's attempts, one after the other. `new_id` gives nonces.

    Methods raise SaslFailed where the attempt is over by what the client said.
    """

    def __init__(self, policy: Policy, new_id: Callable[[], str]) -> None:
        self.profile: Profile = Sasl1
        self.wishes: Wishes | None = None  # what came with the attempt (XEP-0388), until it is answered
        self.trying: str | None = None  # as whom
        self.attempts = 0
        self._policy = policy
        self._new_id = new_id
        self._exchange: Exchange | None = None
        self._peer_from: str | None = None
        self._success_data = b""

    def begin(
        self, element: Element, profile: Profile, offered: Sequence[str], tls: TlsFacts, peer_from: str | None
    ) -> bytes | None:
        """A new attempt; its first message, None where that has to be asked for. `peer_from`: who the client said to be
        when it opened the stream."""
        self.attempts += 1
        self.trying, self.wishes, self.profile = None, None, profile
        self._peer_from = peer_from
        begun = profile.begin(element)
        for_tokens = begun.wishes is not None and begun.wishes.fast is not None
        if for_tokens and begun.wishes is not None and begun.wishes.user_agent.id is None:
            # spec: XEP-0484 3.4, 4.1
            raise SaslFailed(
                SaslCondition.MALFORMED_REQUEST, "A client with a token says which one it is (user-agent)"
            )
        self._exchange = start_exchange(
            begun.mechanism,
            token_mechanisms(tls.bindings) if for_tokens else offered,
            server_nonce=self._new_id(),
            bindings=tls.bindings,
            advertised=_advertised(offered, tls),
        )
        self.wishes = begun.wishes
        if begun.initial is None and begun.mechanism == AnonymousExchange.mechanism:
            return b""  # spec: XEP-0175 4, examples 4 and 5
        return begun.initial

    def step(self, data: bytes) -> Question | Challenge:
        """What a message of the client asks, or what it is asked in turn."""
        exchange = self._exchange
        assert exchange is not None  # a message comes inside an exchange alone
        step = exchange.receive(data)
        if isinstance(step, NeedCredentials):
            self.trying = self._account_name(step.username)
            return NeedCredentials(self.trying, step.hash_name)
        if isinstance(step, CheckPassword):
            self.trying = self._account_name(step.authcid)
            self._check_authzid(step.authzid)
            return CheckPassword("", self.trying, step.password)
        if isinstance(step, CheckCertificate):
            return CheckCertificate(self._authorized_name(step.authzid))
        if isinstance(step, HashedToken):
            self.trying = self._account_name(step.authcid)
            return replace(step, authcid=self.trying)
        if isinstance(step, Done):
            self._check_authzid(step.authzid)
            self._success_data = step.data
            assert self.trying is not None  # NeedCredentials came before
            return Authenticated(self.trying, step.app)
        return step

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """The answer to NeedCredentials."""
        assert self._exchange is not None  # it has asked
        return self._exchange.credentials(verifier)

    def token_refused(self, configuration: str | None) -> Challenge:
        """The answer to CheckToken: it is nobody's. spec: RFC7628 3.2.2, 3.2.3"""
        assert isinstance(self._exchange, BearerExchange)  # it has asked
        return self._exchange.token_refused(configuration)

    def acts_for(self, name: str, authzid: str) -> None:
        """The client is the account `name`: whether it asked to be anybody else."""
        self.trying = name
        self._check_authzid(authzid)

    def succeed(self, proof: bytes) -> bytes:
        """The attempt was let in; what proves to the client that we knew what it knows. `proof`: what HT answers
        with."""
        data, self._success_data, self._exchange = proof or self._success_data, b"", None
        return data

    def end(self) -> None:
        """The attempt is over."""
        self._exchange = self.wishes = None
        self._success_data = b""

    def _account_name(self, authcid: str) -> str:
        """The account that a client names; some send their whole bare JID. spec: RFC6120 6.3.7"""
        local, at, domain = authcid.partition("@")
        if at and domain.lower() != self._policy.domain:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, f"This server is {self._policy.domain}")
        try:
            return unescape_local(prepare_local(local))
        except InvalidJid:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, "Wrong user name or password") from None

    def _check_authzid(self, authzid: str) -> None:
        """Nobody acts for somebody else here. spec: RFC6120 6.3.8: the authzid is a bare JID; XEP-0388 2.3, 4.4"""
        if not authzid:
            return
        try:
            jid = parse_jid(authzid)
        except InvalidJid:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The address to act for is not an address") from None
        self._check_is(jid, self.trying)

    def _check_is(self, jid: Jid, name: str | None) -> None:
        """That a client asks to be the account `name`, and said nothing else when it opened the stream."""
        if self.profile is Sasl2 and self._peer_from and self._peer_from.partition("/")[0] != str(jid):
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The stream was opened in another name")
        if jid.resource or jid.domain != self._policy.domain or unescape_local(jid.local) != name:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "You can only log in as yourself")

    def _authorized_name(self, authzid: str) -> str:
        """The account that a client with a certificate asks for; "" leaves it to the certificate.

        spec: XEP-0178 2, step 10: an authorization identity is a bare JID
        """
        if not authzid:
            return ""
        try:
            jid = parse_jid(authzid)
        except InvalidJid:
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "The address to act for is not an address") from None
        name = unescape_local(jid.local)
        self._check_is(jid, name)
        return name


def _advertised(offered: Sequence[str], tls: TlsFacts) -> bytes:
    """What SCRAM signs of our offer, so that nobody cuts it unseen. spec: XEP-0474 6.1"""
    offer = "\x1e".join(sorted(offered))
    bindings = "\x1e".join(sorted(tls.bindings))
    return (f"{offer}\x1f{bindings}" if bindings else offer).encode()
