"""Reading the configuration: TOML to typed options, with mistakes explained by file, line and fix.

Nothing is guessed: an unknown key or a wrong value stops the start, and all mistakes are told at once.
"""

import difflib
import ipaddress
import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

from tripoint.config.app_services import BadFile, load_app_services
from tripoint.config.options import LOG_LEVELS, MAIL_SECURITY, PRIVILEGES, REGISTRATION_MODES, Config
from tripoint.core.addresses import is_loopback
from tripoint.core.email_address import parse_email_address
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, parse_room_id, parse_server_name
from tripoint.core.letter_words import check_words
from tripoint.core.password_hash import is_hash
from tripoint.core.room_version import SUPPORTED
from tripoint.core.terms import is_document_id, is_language
from tripoint.core.turn import parse_turn_uri

# spec: XEP-0157 7.1
CONTACT_KINDS = ("abuse", "admin", "feedback", "sales", "security", "status", "support")
# spec: XEP-0357 11.3.1
PUSH_FIELDS = ("message-count", "last-message-sender", "last-message-body", "pending-subscription-count")

_LISTENERS = ("http", "irc", "irc_tls", "xmpp", "xmpp_tls", "s2s", "s2s_tls", "components", "federation", "metrics")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` are sentences with file and line."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


def load_config(path: Path | None) -> Config:
    """The configuration in `path`; None: all defaults. Raises ConfigError with every mistake."""
    if path is None:
        return Config()
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from error
    return parse_config(text, str(path))


def parse_config(text: str, name: str) -> Config:
    """The configuration in a TOML text; `name` is the file's name in mistakes."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: not TOML: {error}"]) from error
    reader = _Reader(text, name)
    config = reader.read(data)
    if not reader.mistakes:
        reader.check(config)
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return config


class _Reader:
    """Collects mistakes while it builds the options."""

    def __init__(self, text: str, name: str) -> None:
        self._lines = text.splitlines()
        self._name = name
        self.mistakes: list[str] = []

    def read(self, data: dict[str, Any]) -> Config:
        tables = {part.name: part for part in fields(Config)}
        types = get_type_hints(Config)
        made: dict[str, Any] = {}
        for key, value in data.items():
            if key not in tables:
                self._unknown(None, key, list(tables))
            elif not isinstance(value, dict):
                self._mistake(None, key, f"{key} is a table: write [{key}] and its options below")
            else:
                made[key] = self._table(key, types[key], value)
        return Config(**made)

    def _table(self, table: str, cls: type, values: dict[str, Any]) -> Any:
        types = get_type_hints(cls)
        known = [option.name for option in fields(cls)]
        made: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                self._unknown(table, key, known)
                continue
            wanted = types[key]
            inner = next(iter(get_args(wanted)), None)
            if is_dataclass(inner):
                assert isinstance(inner, type)
                made[key] = self._list_of_tables(f"{table}.{key}", inner, value)
                continue
            if wanted is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if wanted in (str, bool, int, float):
                if type(value) is not wanted:
                    self._mistake(table, key, f"{key} must be {_SAY[wanted]}, not {value!r}")
                    continue
            elif not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                self._mistake(table, key, f'{key} must be a list of texts, like ["127.0.0.1:8008"]')
                continue
            else:
                value = tuple(value)
            made[key] = value
        return cls(**made)

    def _list_of_tables(self, table: str, cls: type, values: Any) -> tuple[Any, ...]:
        """``[[table]]``, as often as there are things of this kind."""
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            parent, _, key = table.partition(".")
            text = f"{table} is a list of tables: write [[{table}]] and its options below, for each"
            self._mistake(parent, key, text)
            return ()
        return tuple(self._table(table, cls, value) for value in values)

    def _check_gateways(self, config: Config) -> None:
        for gateway in config.irc.webirc:
            if not gateway.name or not gateway.addresses:
                self._mistake("irc.webirc", "name", "every web gateway has a name, and addresses")
            for network in gateway.addresses:
                if not _is_network(network):
                    self._mistake("irc.webirc", "addresses", f"{network!r} is no address or network")
            if not is_hash(gateway.password):
                text = "password is what `tripoint config hash` prints, not the password itself"
                self._mistake("irc.webirc", "password", text)

    def _check_operators(self, config: Config) -> None:
        classes = [one.name for one in config.irc.operator_class]
        for one in config.irc.operator_class:
            if not one.name or classes.count(one.name) > 1:
                self._mistake("irc.operator_class", "name", "every operator class has a name of its own")
            for privilege in one.privileges:
                if privilege not in PRIVILEGES:
                    known = ", ".join(PRIVILEGES)
                    self._mistake("irc.operator_class", "privileges", f"{privilege!r} is none of {known}")
        accounts = [one.account for one in config.irc.operator]
        for operator in config.irc.operator:
            if not operator.account or accounts.count(operator.account) > 1:
                self._mistake("irc.operator", "account", "every operator has an account of its own")
            if operator.operator_class and operator.operator_class not in classes:
                text = f"there is no operator class {operator.operator_class!r}"
                self._mistake("irc.operator", "operator_class", text)
            if operator.password and not is_hash(operator.password):
                text = "password is what `tripoint config hash` prints, not the password itself"
                self._mistake("irc.operator", "password", text)

    def check(self, config: Config) -> None:
        """What types cannot say."""
        try:
            parse_server_name(config.server.name)
        except PeerError as error:
            self._mistake("server", "name", f"name is not a server name: {error}")
        if config.server.default_room_version not in SUPPORTED:
            self._mistake("server", "default_room_version", f"default_room_version is one of {', '.join(SUPPORTED)}")
        for contact in config.server.contacts:
            if split_contact(contact) is None:
                kinds = ", ".join(CONTACT_KINDS)
                text = f'{contact!r} is not one of {kinds} and an address, like "abuse mailto:abuse@example.org"'
                self._mistake("server", "contacts", text)
        for key in _LISTENERS:
            for address in getattr(config.listen, key):
                if split_address(address) is None:
                    self._mistake("listen", key, f'{address!r} is not an address like "127.0.0.1:6667" or "[::]:6667"')
        for address in config.listen.proxies:
            if not _is_ip(address):
                self._mistake("listen", "proxies", f"{address!r} is not an IP address")
        for network in config.listen.proxy_protocol:
            if not _is_network(network):
                self._mistake("listen", "proxy_protocol", f'{network!r} is no address or network like "10.0.0.0/8"')
        for network in config.outbound.allow_networks:
            if not _is_network(network):
                self._mistake("outbound", "allow_networks", f'{network!r} is not a network like "10.0.0.0/8"')
        if config.server.federation_address and not _is_server_name(config.server.federation_address):
            self._mistake("server", "federation_address", 'federation_address is a name like "matrix.example.org:443"')
        for name in config.federation.identity_servers:
            if not _is_server_name(name):
                self._mistake("federation", "identity_servers", f'{name!r} is no name like "id.example.org"')
        for room_id in config.federation.policy_lists:
            if not _is_room_id(room_id):
                self._mistake("federation", "policy_lists", f'{room_id!r} is no room id like "!abc:example.org"')
        for notary in config.outbound.key_notaries:
            if not _is_server_name(notary):
                self._mistake("outbound", "key_notaries", f"{notary!r} is not a server name")
        if bool(config.tls.certificate) != bool(config.tls.key):
            self._mistake("tls", "certificate", "certificate and key are given together or not at all")
        for key in ("certificate", "key"):
            path = getattr(config.tls, key)
            if path and not Path(path).is_file():
                self._mistake("tls", key, f"{path} does not exist")
        for path in config.tls.extra_authorities:
            if not Path(path).is_file():
                self._mistake("tls", "extra_authorities", f"{path} does not exist")
        if len(config.irc.admin) > 3:
            self._mistake("irc", "admin", "admin has at most three lines")
        if config.irc.icon_url and not _is_url(config.irc.icon_url):
            self._mistake("irc", "icon_url", 'icon_url is an address like "https://example.org/icon.png"')
        if config.irc.sts_duration_s and not config.listen.irc_tls:
            self._mistake("irc", "sts_duration_s", "sts_duration_s sends clients to listen.irc_tls, which is empty")
        for zone in config.irc.dnsbl:
            if not _is_server_name(zone) or ":" in zone:
                self._mistake("irc", "dnsbl", f"{zone!r} is no name of the DNS")
        for address in config.xmpp.status_addresses:
            if not _is_url(address):
                self._mistake("xmpp", "status_addresses", f"{address!r} is no address like https://status.example")
        for name in config.xmpp.push_summary:
            if name not in PUSH_FIELDS:
                self._mistake("xmpp", "push_summary", f"{name!r} is not one of {', '.join(PUSH_FIELDS)}")
        self._check_gateways(config)
        self._check_operators(config)
        accounts = config.accounts
        if accounts.registration not in REGISTRATION_MODES:
            self._mistake("accounts", "registration", f"registration is one of {', '.join(REGISTRATION_MODES)}")
        if not 10_000 <= accounts.scram_iterations <= 600_000:
            self._mistake("accounts", "scram_iterations", "scram_iterations is between 10000 and 600000")
        self._check_terms(config)
        self._check_turn(config)
        self._check_bucket(config)
        self._check_providers(config)
        self._check_components(config)
        self._check_mail(config)
        self._check_terms_for_all(config)
        self._check_app_services(config)
        if config.log.level not in LOG_LEVELS:
            self._mistake("log", "level", f"level is one of {', '.join(LOG_LEVELS)}")
        for option in fields(config.limits):
            if getattr(config.limits, option.name) < 0:
                self._mistake("limits", option.name, f"{option.name} cannot be negative; 0 means no limit")
        for table, url in (("server", config.server.public_url), ("media", config.media.public_url)):
            if url and not _is_base_url(url):
                self._mistake(table, "public_url", 'public_url is an address like "https://chat.example.org"')
        for url in config.rtc.livekit:
            if not _is_base_url(url):
                self._mistake("rtc", "livekit", f'{url!r} is not an address like "https://rtc.example.org"')
        for host in config.media.preview_blocked:
            if not _is_host(host):
                self._mistake("media", "preview_blocked", f"{host!r} is no name of a site")
        for key in ("upload_bytes", "account_bytes", "remote_file_bytes", "cache_bytes"):
            if getattr(config.media, key) < 0:
                self._mistake("media", key, f"{key} cannot be negative")

    def _check_terms(self, config: Config) -> None:
        table, ids = "accounts.terms", [one.id for one in config.accounts.terms]
        for one in config.accounts.terms:
            if not is_document_id(one.id) or ids.count(one.id) > 1:
                self._mistake(table, "id", "every document has an id of its own, of a-z, 0-9, '.', '_' and '-'")
            if not one.version or not one.version.isprintable() or len(one.version) > 64:
                self._mistake(table, "version", "every document has a version, of at most 64 characters")
            languages = [text.language for text in one.text]
            if not languages:
                self._mistake(table, "id", f"{one.id} needs a text: write [[{table}.text]] below it")
            for text in one.text:
                if not is_language(text.language) or languages.count(text.language) > 1:
                    self._mistake(f"{table}.text", "language", 'language is one like "en" or "pt-BR", each once')
                if not text.name or not text.name.isprintable() or len(text.name) > 100:
                    self._mistake(f"{table}.text", "name", "every text has a name, of at most 100 characters")
                if not _is_url(text.url):
                    self._mistake(f"{table}.text", "url", 'url is an address like "https://example.org/terms.html"')

    def _check_bucket(self, config: Config) -> None:
        s3 = config.media_s3
        if not s3.bucket:
            return
        if s3.endpoint and not _is_base_url(s3.endpoint):
            self._mistake("media_s3", "endpoint", 'endpoint is an address like "https://s3.example.org"')
        for key in ("region", "access_key_id", "secret_access_key"):
            if not getattr(s3, key):
                self._mistake("media_s3", key, f"{key} is needed for a bucket")
        if not _PREFIX.fullmatch(s3.prefix):
            self._mistake("media_s3", "prefix", 'prefix is like "tripoint/": letters, digits, ".", "_", "-"; "/" last')

    def _check_turn(self, config: Config) -> None:
        turn = config.turn
        servers = [parse_turn_uri(uri) for uri in turn.uris]
        for uri, server in zip(turn.uris, servers, strict=True):
            if server is None:
                text = f'{uri!r} is not an address like "turn:turn.example.org:3478?transport=udp"'
                self._mistake("turn", "uris", text)
        if any(server is not None and server.needs_credentials for server in servers) and not turn.secret:
            self._mistake("turn", "secret", "secret is needed for turn: and turns: addresses")
        if turn.lifetime_s < 60:
            self._mistake("turn", "lifetime_s", "lifetime_s is at least 60")

    def _check_components(self, config: Config) -> None:
        table, server = "xmpp.component", config.server.name
        names = [one.name for one in config.xmpp.component]
        for one in config.xmpp.component:
            if _DOMAIN.fullmatch(one.name) is None or names.count(one.name) > 1:
                self._mistake(table, "name", 'every component has a domain of its own, like "irc.example.org"')
            elif one.name in (server, f"rooms.{server}", f"matrix.{server}"):
                self._mistake(table, "name", f"{one.name} is a domain of this server itself")
            if len(one.secret) < 8:
                self._mistake(table, "secret", "every component has a secret, of at least 8 characters")

    def _check_app_services(self, config: Config) -> None:
        if not config.matrix.app_services or not _is_server_name(config.server.name):
            return
        try:
            load_app_services(config.matrix.app_services, server_name(config))
        except BadFile as error:
            self._mistake("matrix", "app_services", str(error))

    def _check_terms_for_all(self, config: Config) -> None:
        if not config.accounts.terms_for_all:
            return
        if not config.accounts.terms:
            self._mistake("accounts", "terms_for_all", "terms_for_all needs documents: [[accounts.terms]]")
        elif not config.server.public_url and not only_loopback(config):
            self._mistake("accounts", "terms_for_all", "terms_for_all needs server.public_url, for its page")

    def _check_mail(self, config: Config) -> None:
        mail = config.mail
        if mail.security not in MAIL_SECURITY:
            self._mistake("mail", "security", f"security is one of {', '.join(MAIL_SECURITY)}")
        if not 1 <= mail.port <= 65535:
            self._mistake("mail", "port", "port is between 1 and 65535")
        if not mail.host:
            if config.accounts.email_required:
                self._mistake("accounts", "email_required", "email_required needs [mail], to send letters")
            return
        if not _is_host(mail.host):
            self._mistake("mail", "host", 'host is a name like "mail.example.org", or an IP address')
        if not _is_email(mail.sender):
            self._mistake("mail", "sender", 'sender is an address like "chat@example.org"')
        if not mail.sender_name.isprintable():
            self._mistake("mail", "sender_name", "sender_name is one line")
        if bool(mail.user) != bool(mail.password_file):
            self._mistake("mail", "user", "user and password_file are given together or not at all")
        if mail.password_file:
            try:
                read_password(mail.password_file)
            except ConfigError as error:
                self._mistake("mail", "password_file", str(error))
        try:
            read_letter_words(mail.words)
        except ConfigError as error:
            for mistake in error.mistakes:
                self._mistake("mail", "words", mistake)
        local = mail.host == "localhost" or is_loopback(mail.host)
        if mail.user and mail.security == "none" and not local:
            self._mistake("mail", "security", "a password goes over TLS alone: security is starttls or tls")
        if not config.server.public_url and not only_loopback(config):
            self._mistake("server", "public_url", "public_url is needed for [mail]: its letters lead back to it")

    def _check_providers(self, config: Config) -> None:
        table, ids = "sso.provider", [one.id for one in config.sso.provider]
        for one in config.sso.provider:
            if re.fullmatch(r"[a-z0-9._-]{1,64}", one.id) is None or ids.count(one.id) > 1:
                self._mistake(table, "id", "every provider has an id of its own, of a-z, 0-9, '.', '_' and '-'")
            if not one.name or not one.client_id:
                self._mistake(table, "name", "every provider has a name, and a client_id")
            if not one.issuer.startswith("https://") or not _is_base_url(one.issuer):
                self._mistake(table, "issuer", 'issuer is an address like "https://id.example.org"')
            if "openid" not in one.scopes:
                self._mistake(table, "scopes", 'scopes has "openid" among them')
        if config.sso.provider and not config.server.public_url and not only_loopback(config):
            self._mistake("server", "public_url", "public_url is needed for [[sso.provider]]: they lead back to it")

    def _unknown(self, table: str | None, key: str, known: list[str]) -> None:
        close = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
        where = f" in [{table}]" if table else ""
        self._mistake(table, key, f"unknown option {key}{where}{hint}")

    def _mistake(self, table: str | None, key: str, text: str) -> None:
        self.mistakes.append(f"{self._name}:{self._line(table, key)}: {text}")

    def _line(self, table: str | None, key: str) -> int:
        """The line on which a key stands; TOML's reader does not tell."""
        inside = table is None
        for number, line in enumerate(self._lines, 1):
            stripped = line.strip()
            if stripped.startswith("["):
                name = stripped.strip("[]").strip()
                if table is None and name == key:
                    return number
                inside = table is None or name == table
            elif inside and stripped.partition("=")[0].strip().strip('"') == key:
                return number
        return 1


_PREFIX = re.compile(r"(?:[A-Za-z0-9._-]+/)*")


def read_password(path: str) -> str:
    """What a file holds, without the end of its line. Raises ConfigError."""
    try:
        text = Path(path).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not UTF-8 text"]) from error
    if not text or not text.isprintable():
        raise ConfigError([f"{path} holds no password: one line is wanted"])
    return text


def read_letter_words(folder: str) -> dict[str, dict[str, str]]:
    """Language -> what letters say in it; nothing for no folder. Raises ConfigError with every mistake."""
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise ConfigError([f"{folder} is no folder"])
    found, mistakes = {}, []
    for path in sorted(Path(folder).glob("*.toml")):
        try:
            given = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            mistakes.append(f"{path}: cannot be read: {error}")
            continue
        if not is_language(path.stem):
            mistakes.append(f"{path}: is called after its language, like de.toml or pt-BR.toml")
        mistakes += [f"{path}: {mistake}" for mistake in check_words(given)]
        found[path.stem] = {name: str(text) for name, text in given.items()}
    if mistakes:
        raise ConfigError(mistakes)
    return found


_SAY = {str: 'a text in quotes, like "this"', bool: "true or false", int: "a whole number", float: "a number"}


def split_contact(contact: str) -> tuple[str, str] | None:
    """("abuse", "mailto:abuse@example.org") of the two with a space between; None where it is no such pair."""
    kind, _, uri = contact.strip().partition(" ")
    uri = uri.strip()
    # spec: XEP-0157 3: valid URIs
    is_uri = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", uri) is not None
    return (kind, uri) if kind in CONTACT_KINDS and is_uri else None


def split_address(address: str) -> tuple[str, int] | None:
    """("127.0.0.1", 6667) of "127.0.0.1:6667"; None where it is not an address with a port."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        return None
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port)) if host and _is_ip(host) else None


def only_loopback(config: Config) -> bool:
    """Whether every client listener can be reached from this machine alone."""
    listen = config.listen
    addresses = (*listen.http, *listen.irc, *listen.irc_tls, *listen.xmpp, *listen.xmpp_tls)
    parts = [split_address(address) for address in addresses]
    return all(part is not None and ipaddress.ip_address(part[0]).is_loopback for part in parts)


def registration_mode(config: Config) -> str:
    """open, token or closed: what `auto` comes to."""
    if config.accounts.registration != "auto":
        return config.accounts.registration
    return "open" if only_loopback(config) else "closed"


def server_name(config: Config) -> ServerName:
    return parse_server_name(config.server.name)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    return _is_ip(text) or (_is_server_name(text) and ":" not in text)


def _is_room_id(text: str) -> bool:
    try:
        parse_room_id(text)
    except PeerError:
        return False
    return True


def _is_email(text: str) -> bool:
    try:
        parse_email_address(text)
    except PeerError:
        return False
    return True


def _is_server_name(text: str) -> bool:
    try:
        parse_server_name(text)
    except PeerError:
        return False
    return True


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    fits = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    return bool(fits) and "@" not in parts.netloc and text.isascii() and text.isprintable() and " " not in text


def _is_url(text: str) -> bool:
    """An address that can stand in a token of RPL_ISUPPORT."""
    return _is_base_url(text.partition("?")[0]) and text.isascii() and " " not in text and len(text) <= 300


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
