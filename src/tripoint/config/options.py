"""Every option of the server: frozen, typed, with its own help.

The example file and the manual page are generated from these fields. Defaults are safe ones: everything on
loopback, so that a server without a file is a server for trying out.
"""

from dataclasses import dataclass, field
from typing import Any

REGISTRATION_MODES = ("auto", "open", "token", "closed")
# What IRC operators can be allowed: `ban` is KLINE and its kin, `invite` registration
# tokens, `look` what others do not see, `mass` messages to
# everybody, `notices` what the server tells of itself, `rooms` SAJOIN and its kin.
PRIVILEGES = ("ban", "invite", "kill", "look", "mass", "notices", "rehash", "reports", "rooms", "vhost", "wallops")
LOG_LEVELS = ("debug", "info", "warning", "error")
# How letters go to the mail server.
MAIL_SECURITY = ("starttls", "tls", "none")


def option(help: str, default: Any) -> Any:
    """A field with its help. Lists are written as tuples."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Server:
    """Who this server is."""

    name: str = option(
        "The name in user ids (@alice:NAME), on IRC and as XMPP domain. It is in every room's history and "
        "cannot be changed later.",
        "localhost",
    )
    data_dir: str = option("Where the database, keys and certificates are kept.", "data")
    default_room_version: str = option("Room version of new rooms: 1 to 12.", "12")
    motd: str = option(
        "Message of the day on IRC, until another one is set (`tripoint motd`).", "Welcome. One room, three protocols."
    )
    public_url: str = option(
        "The address under which clients reach HTTP, for .well-known/matrix/client and host-meta; empty: none is given "
        "out.",
        "",
    )

    contacts: tuple[str, ...] = option(
        "Where those are reached who run the server: what for (abuse, admin, feedback, sales, security, status, "
        'support) and an address, as "abuse mailto:abuse@example.org".',
        (),
    )
    federation_address: str = option(
        "The address at which other servers find this one, as host:port, for .well-known/matrix/server; empty: at "
        "its own name.",
        "",
    )


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses and ports, as "host:port"; "[::]:6697" for IPv6. An empty list switches a listener off."""

    http: tuple[str, ...] = option(
        "Matrix clients, XMPP over WebSocket; plain HTTP (put a TLS proxy in front).", ("127.0.0.1:8008",)
    )
    irc: tuple[str, ...] = option("IRC without TLS.", ("127.0.0.1:6667",))
    irc_tls: tuple[str, ...] = option("IRC over TLS.", ("127.0.0.1:6697",))
    xmpp: tuple[str, ...] = option(
        "XMPP clients, STARTTLS. Without this and the next there is no XMPP, over WebSocket neither.",
        ("127.0.0.1:5222",),
    )
    xmpp_tls: tuple[str, ...] = option("XMPP clients, direct TLS.", ("127.0.0.1:5223",))
    s2s: tuple[str, ...] = option(
        "Other XMPP servers, STARTTLS; 5269 is where they look first. Without this and the next no other XMPP server "
        "is spoken to.",
        (),
    )
    s2s_tls: tuple[str, ...] = option("Other XMPP servers, direct TLS; they find it by SRV _xmpps-server._tcp.", ())
    components: tuple[str, ...] = option(
        "XMPP components, where [[xmpp.component]] names some. Nothing is encrypted: keep it on this machine or a "
        "private network.",
        ("127.0.0.1:5347",),
    )
    federation: tuple[str, ...] = option(
        "Other Matrix servers, TLS; 8448 is where they look first. A proxy that forwards /_matrix to http does too.",
        ("127.0.0.1:8448",),
    )
    metrics: tuple[str, ...] = option("Prometheus metrics at /metrics. Keep it private.", ("127.0.0.1:8009",))
    proxies: tuple[str, ...] = option(
        "Addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. Passwords from "
        "elsewhere are taken only where X-Forwarded-Proto says https.",
        ("127.0.0.1", "::1"),
    )
    proxy_protocol: tuple[str, ...] = option(
        "Addresses or networks of proxies in front of IRC and XMPP that send a PROXY header (version 1 or 2) first. "
        "What comes from them without one is closed.",
        (),
    )
    plaintext_passwords: bool = option(
        "Take passwords over plain connections from this machine. Switch it off when a proxy forwards IRC or "
        "XMPP here, or HTTP without saying X-Forwarded-For.",
        True,
    )


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates. Without them the server makes its own, which clients will ask you about."""

    certificate: str = option("PEM file with the certificate chain; empty: self-made in data_dir.", "")
    key: str = option("PEM file with its private key.", "")
    extra_authorities: tuple[str, ...] = option(
        "PEM files with more certificate authorities to trust on outgoing connections.", ()
    )


@dataclass(frozen=True, slots=True)
class TermsText:
    """A document as people read it in one language."""

    language: str = option('The language, as "en" or "pt-BR".', "")
    name: str = option('What the document is called in it, as "Terms of service".', "")
    url: str = option("Where it is to be read.", "")


@dataclass(frozen=True, slots=True)
class TermsDocument:
    """A document that whoever makes an account has to accept."""

    id: str = option("How it is known, as terms_of_service, in a-z, 0-9, '.', '_' and '-'.", "")
    version: str = option("Its version; which one somebody has accepted is kept with the account.", "")
    text: tuple[TermsText, ...] = option("The same document in each of its languages.", ())


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who may have an account."""

    registration: str = option(
        "open, token (see `tripoint user invite`), closed; auto: open while every listener is on this machine "
        "alone, else closed.",
        "auto",
    )
    guests: bool = option("IRC users without an account may come in as guests.", True)
    matrix_guests: bool = option(
        "Matrix clients without an account may come in as guests (kind=guest): into rooms that let guests in.", False
    )
    xmpp_guests: bool = option(
        "XMPP clients without an account may come in as guests (SASL ANONYMOUS): into rooms that let guests in.", False
    )
    guests_per_address: int = option("How many guests one address may have at a time.", 3)
    guests_per_hour: int = option("How many guests may come from one address in an hour; 0: any number.", 30)
    guest_rooms_per_hour: int = option("How many rooms guests of one address may make in an hour; 0: any number.", 20)
    scram_sha1: bool = option("Also keep SCRAM-SHA-1 forms of passwords, for old XMPP clients.", True)
    migrating: bool = option(
        "Accounts came from another server (`tripoint user import`): IRC and XMPP clients are asked for the password "
        "in clear text, over TLS, until everybody has logged in once.",
        False,
    )
    scram_iterations: int = option("Rounds of password hashing, 10000 to 600000.", 100_000)
    registration_shared_secret: str = option(
        "Whoever knows it makes accounts, administrators too, whatever registration says "
        "(POST /_synapse/admin/v1/register; a secret). Empty: nobody does.",
        "",
    )
    email_required: bool = option(
        "Who makes an account shows an e-mail address first, by a link in a letter (see [mail]): in a browser, or with "
        "a Matrix client. Accounts of providers (sso) and those that administrators make need none.",
        False,
    )
    terms: tuple[TermsDocument, ...] = option(
        "Documents that whoever makes an account has to accept, on every protocol; accounts that administrators make "
        "need nothing. An account has one from when it was made: newer versions are for new accounts, but for "
        "terms_for_all.",
        (),
    )
    terms_for_all: bool = option(
        "Accounts that exist have to accept the present versions of `terms` too, however they were made: until then "
        "they read and leave, and enter, make and say nothing. They are told of a page for it.",
        False,
    )
    token_life_s: int = option("Life of Matrix access tokens of clients that can refresh them.", 3600)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user or one connection may take. A rate of 0 means no limit."""

    events_burst: float = option("Messages an account may send at once.", 10.0)
    events_per_s: float = option("Messages a second after that.", 1.0)
    state_burst: float = option("Changes to rooms (topic, modes, new rooms) at once.", 20.0)
    state_per_s: float = option("Such changes a second after that.", 0.1)
    membership_burst: float = option("Joins, invitations, kicks at once.", 50.0)
    membership_per_s: float = option("The same a second after that.", 1.0)
    login_failures_burst: float = option("Wrong passwords per account or address at once.", 10.0)
    login_failures_per_s: float = option("Wrong passwords a second after that.", 0.1)
    registrations_burst: float = option("New accounts per address at once.", 10.0)
    registrations_per_s: float = option("New accounts a second after that.", 0.02)
    rooms_per_account: int = option("Rooms an account may be in.", 500)
    connections_per_address: int = option("IRC and XMPP connections from one address; 0: no limit.", 100)
    connections_per_network: int = option(
        "IRC and XMPP connections from the /24 or /48 around an address, this machine's own aside; 0: no limit.", 1000
    )
    connections_burst: float = option(
        "New IRC and XMPP connections from one address at once, this machine's own aside.", 50.0
    )
    connections_per_s: float = option("New connections a second after that.", 1.0)
    send_queue_bytes: int = option("What may wait for a client that does not read, before it is closed.", 4_194_304)
    irc_commands_burst: float = option("IRC commands at once, weighted by their cost.", 60.0)
    irc_commands_per_s: float = option("IRC commands a second after that.", 20.0)
    xmpp_stanzas_burst: float = option("XMPP stanzas of a client at once; of another server ten times that.", 200.0)
    xmpp_stanzas_per_s: float = option("XMPP stanzas a second after that; of another server ten times that.", 50.0)
    stanza_bytes: int = option("Largest XMPP stanza of a client; of another server twice that.", 262_144)
    http_body_bytes: int = option("Largest body of an HTTP request that is not an upload.", 1_048_576)
    http_connections: int = option("HTTP connections at a time; 0: no limit.", 20_000)
    rooms_in_memory: int = option("Rooms kept in memory that nobody is watching.", 2000)


@dataclass(frozen=True, slots=True)
class OperatorClass:
    """What some IRC operators may do."""

    name: str = option("How operators are given this class.", "")
    privileges: tuple[str, ...] = option(f"Some of: {', '.join(PRIVILEGES)}.", ())
    title: str = option("What WHOIS says of them, behind their nick.", "is an IRC operator")


@dataclass(frozen=True, slots=True)
class Operator:
    """An account that may become an IRC operator."""

    account: str = option("The account.", "")
    operator_class: str = option("One of the operator classes; empty: everything is allowed.", "")
    password: str = option(
        "What OPER asks for, as `tripoint config hash` prints it; empty: the account's own password.", ""
    )


@dataclass(frozen=True, slots=True)
class WebGateway:
    """A web client's gateway to IRC, which says by WEBIRC who its users are."""

    name: str = option("What operators see it as.", "")
    addresses: tuple[str, ...] = option("Addresses or networks from which it connects.", ())
    password: str = option("What it sends, as `tripoint config hash` prints it.", "")


@dataclass(frozen=True, slots=True)
class Irc:
    """What IRC says of itself, and who its operators are (administrators of the server are, and may do everything)."""

    admin: tuple[str, ...] = option(
        "What ADMIN answers: where the server is, who runs it, an address to write to. Up to three lines.", ()
    )
    icon_url: str = option("Address of a picture of the network, which some clients show.", "")
    sts_duration_s: int = option(
        "Tell clients to come over TLS alone for so many seconds (sts); 0 tells them nothing, -1 takes it back. Mind "
        "that they keep to it.",
        0,
    )
    hostnames: bool = option(
        "Look up what addresses are called, for bans (KLINE *@*.example.net) and for operators; nobody else sees it.",
        False,
    )
    ident: bool = option(
        "Ask machines whose their connections are (RFC 1413), for bans (KLINE NAME@...) and for operators.", False
    )
    dnsbl: tuple[str, ...] = option(
        "Lists of bad addresses in the DNS, like dnsbl.example.net: guests from there are turned away, accounts not.",
        (),
    )
    webirc: tuple[WebGateway, ...] = option("Gateways of web clients.", ())
    operator_class: tuple[OperatorClass, ...] = option("What some operators may do.", ())
    operator: tuple[Operator, ...] = option("Accounts that may become operators.", ())


@dataclass(frozen=True, slots=True)
class Media:
    """Files that people send each other."""

    public_url: str = option(
        "Where links to files begin, for IRC and XMPP, as https://files.example.org; a name of its own keeps what "
        "people upload away from what your site stores in browsers. Empty: server.public_url. Without either, a "
        "server that only this machine reaches uses its own port, and others show files without links.",
        "",
    )
    upload_bytes: int = option("Largest file that may be uploaded.", 52_428_800)
    account_bytes: int = option("What one account may have uploaded altogether; 0: no limit.", 10_737_418_240)
    remote_file_bytes: int = option("Largest file that is fetched from another server.", 104_857_600)
    cache_bytes: int = option(
        "What is kept of other servers' files; those that were asked for longest ago go first.", 10_737_418_240
    )
    local_life_s: int = option(
        "How long files of this server are kept that nobody asks for any more, pictures of profiles and rooms aside; "
        "0: for ever.",
        0,
    )
    url_previews: bool = option(
        "Make previews of links in messages for Matrix clients that ask for them. The server then fetches what people "
        "link to, from public addresses alone (see [outbound]); whoever runs those sites sees its address.",
        False,
    )
    preview_blocked: tuple[str, ...] = option(
        'Sites of which no previews are made, with all below them, like "intranet.example.org".', ()
    )
    remote_life_s: int = option(
        "The same of other servers' files, which can be fetched again; 0: while there is room.", 0
    )


@dataclass(frozen=True, slots=True)
class MediaS3:
    """Files in a bucket of an S3-compatible store instead of in data_dir; `tripoint media move` takes over what is
    there."""

    bucket: str = option("Its name; empty: files lie in data_dir.", "")
    endpoint: str = option(
        'The address of the store, as "https://s3.example.org"; empty: that of AWS in the region.', ""
    )
    region: str = option("The region that the bucket is in; stores of one's own take any.", "us-east-1")
    prefix: str = option('What the names of all objects begin with, as "tripoint/".', "")
    access_key_id: str = option("As whom the store is spoken to; it may read, write, delete and list there.", "")
    secret_access_key: str = option("What goes with it (a secret).", "")


@dataclass(frozen=True, slots=True)
class Outbound:
    """Connections that the server makes by itself, to other Matrix servers and to what people link to."""

    allow_networks: tuple[str, ...] = option(
        "Private networks that may be connected to (CIDR). Empty: public addresses alone.", ()
    )
    key_notaries: tuple[str, ...] = option(
        "Matrix servers that are asked for the keys of servers that do not answer. They are believed about whose keys "
        "these are.",
        (),
    )


@dataclass(frozen=True, slots=True)
class Matrix:
    """Programs that speak for many users over Matrix: application services, as bridges are."""

    app_services: tuple[str, ...] = option(
        'Their registrations: YAML files that come with them, like "/etc/tripoint/telegram.yaml". They are read at the '
        "start.",
        (),
    )


@dataclass(frozen=True, slots=True)
class Federation:
    """What other Matrix servers are told and asked, and identity servers."""

    identity_servers: tuple[str, ...] = option(
        'Identity servers that people may name, as "id.example.org": to invite by e-mail address or phone number, and '
        "to be found by their own. They learn the addresses. Empty: none is spoken to.",
        (),
    )
    policy_lists: tuple[str, ...] = option(
        "Rooms, by their ids, whose moderation rules (m.policy.rule) hold for this whole server: users are invited "
        "nowhere here and enter no room, servers are not spoken to, rooms are not entered. Somebody of this server has "
        "to be in each list.",
        (),
    )
    presence: bool = option(
        "Tell other servers who is online, and show who is there. It is a message for every change, to every server "
        "that shares a room with the user.",
        False,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Servers that help calls through firewalls. Clients are told of them, with credentials that end by themselves."""

    uris: tuple[str, ...] = option(
        'Their addresses, as "stun:turn.example.org" and "turn:turn.example.org:3478?transport=udp"; empty: there are '
        "none.",
        (),
    )
    secret: str = option("What the TURN servers know too (static-auth-secret of coturn).", "")
    lifetime_s: int = option("How long credentials hold, in seconds.", 86_400)


@dataclass(frozen=True, slots=True)
class SsoProvider:
    """An identity provider (OpenID Connect) by which people log in. Its redirect URI here is
    server.public_url + /oauth2/callback."""

    id: str = option("How this server knows it, in a-z, 0-9, '.', '_' and '-'; not to be changed later.", "")
    name: str = option('What people know it as, on "Log in with NAME".', "")
    issuer: str = option("Its address, as its discovery document has it.", "")
    client_id: str = option("What this server is called there.", "")
    client_secret: str = option("What goes with it; empty: there is none.", "")
    scopes: tuple[str, ...] = option("What is asked of it.", ("openid", "profile"))
    localpart_claim: str = option("What a name here is proposed from.", "preferred_username")
    display_name_claim: str = option("What others see somebody as, to begin with.", "name")
    brand: str = option("Whose sign clients show, like github.", "")
    icon: str = option("A picture for clients, as mxc://server/id.", "")
    registers: bool = option("Who is new here gets an account, whatever accounts.registration says.", True)


@dataclass(frozen=True, slots=True)
class Sso:
    """Logging in by other providers; passwords of this server go on beside it."""

    provider: tuple[SsoProvider, ...] = option("Those providers.", ())


@dataclass(frozen=True, slots=True)
class Rtc:
    """Calls of many (MatrixRTC): what carries them. Clients are told of it."""

    livekit: tuple[str, ...] = option(
        'Addresses of LiveKit authorisation services (lk-jwt-service), as "https://rtc.example.org"; the preferred one '
        "first. Empty: there are none.",
        (),
    )


@dataclass(frozen=True, slots=True)
class Mail:
    """E-mail that the server sends, by a mail server of yours. `tripoint config mail ADDRESS` tries it."""

    host: str = option("The name of the mail server; empty: no mail is sent.", "")
    port: int = option("Its port: 587 with starttls, 465 with tls, as a rule.", 587)
    security: str = option(
        "starttls; tls (from the first byte); none: for a mail server on this machine or in a network that you trust.",
        "starttls",
    )
    user: str = option("As whom this server logs in there; empty: it does not.", "")
    password_file: str = option("A file that holds the password and nothing else, for this server's eyes alone.", "")
    sender: str = option("The address that letters come from, like chat@example.org.", "")
    sender_name: str = option("The name that goes with it; empty: server.name.", "")
    words: str = option(
        "A folder with what letters say in other languages than English, each in a file like de.toml "
        "(docs/operate/letters.md); empty: there are none.",
        "",
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged. Passwords, tokens and message texts never are."""

    level: str = option("debug, info, warning or error.", "info")
    json: bool = option("One JSON object a line instead of text.", False)


@dataclass(frozen=True, slots=True)
class XmppComponent:
    """A program with a domain of its own that connects to listen.components (XEP-0114)."""

    name: str = option('Its domain, like "irc.example.org"; other servers find it by the DNS.', "")
    secret: str = option("What it proves its name with; long and random.", "")
    title: str = option("What it is called among the services of this server; empty: its name.", "")


@dataclass(frozen=True, slots=True)
class Xmpp:
    """XMPP between servers, which listen.s2s switches on, components, and what clients and their push services are
    told."""

    dialback: bool = option(
        "Speak to XMPP servers whose certificate is not valid for their name: they prove it by the DNS alone "
        "(dialback). Off: who has no valid certificate is not spoken to.",
        True,
    )
    status_addresses: tuple[str, ...] = option(
        "Where clients look when this server does not answer: web addresses, elsewhere, of a file that says what is "
        "the matter (XEP-0455).",
        (),
    )
    push_summary: tuple[str, ...] = option(
        "What pushes (XEP-0357) tell the makers of clients: message-count, last-message-sender, last-message-body, "
        "pending-subscription-count; nothing of it with [].",
        ("message-count",),
    )
    component: tuple[XmppComponent, ...] = option(
        "Gateways, bots and services that run beside this server and have their own domain.", ()
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file: one table each."""

    server: Server = field(default_factory=Server)
    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    accounts: Accounts = field(default_factory=Accounts)
    limits: Limits = field(default_factory=Limits)
    irc: Irc = field(default_factory=Irc)
    media: Media = field(default_factory=Media)
    media_s3: MediaS3 = field(default_factory=MediaS3)
    outbound: Outbound = field(default_factory=Outbound)
    federation: Federation = field(default_factory=Federation)
    matrix: Matrix = field(default_factory=Matrix)
    turn: Turn = field(default_factory=Turn)
    sso: Sso = field(default_factory=Sso)
    rtc: Rtc = field(default_factory=Rtc)
    xmpp: Xmpp = field(default_factory=Xmpp)
    mail: Mail = field(default_factory=Mail)
    log: Log = field(default_factory=Log)
