"""The configuration: what it takes, how mistakes are told, the example that is generated from it."""

import asyncio
import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.net.https import make_certificate
from tests.support.mail import PASSWORD, USER, mail_house
from tests.support.middle import run
from tripoint.accounts.passwords import make_hash
from tripoint.cli.main import main
from tripoint.config.example import example
from tripoint.config.load import (
    ConfigError,
    load_config,
    only_loopback,
    parse_config,
    read_letter_words,
    registration_mode,
)
from tripoint.config.options import Config, Operator, OperatorClass


def test_three_lines_make_a_public_server() -> None:
    config = parse_config('[server]\nname = "example.org"\n[listen]\nirc_tls = ["[::]:6697"]\n', "t.toml")
    assert config.server.name == "example.org"
    assert config.listen.irc_tls == ("[::]:6697",)
    # Everything else is the default, and registration closes with the first listener that others can reach.
    assert config.limits == Config().limits
    assert not only_loopback(config)
    assert registration_mode(config) == "closed"
    assert registration_mode(Config()) == "open"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server]\nnmae = "x"', "t.toml:2: unknown option nmae in [server]; did you mean name?"),
        ("[sever]\n", "t.toml:1: unknown option sever; did you mean server?"),
        ("[server]\n\nname = 5", "t.toml:3: name must be a text in quotes"),
        ('[server]\nname = "no spaces here"', "t.toml:2: name is not a server name"),
        ('[server]\ndefault_room_version = "0"', "t.toml:2: default_room_version is one of 1, 2"),
        ('[listen]\nirc = "127.0.0.1:6667"', "t.toml:2: irc must be a list of texts"),
        ('[listen]\nirc = ["localhost:6667"]', "t.toml:2: 'localhost:6667' is not an address like"),
        ('[listen]\nirc = ["127.0.0.1"]', "t.toml:2: '127.0.0.1' is not an address like"),
        ('[listen]\nirc = ["127.0.0.1:66667"]', "t.toml:2: '127.0.0.1:66667' is not an address like"),
        ('[tls]\ncertificate = "/nowhere/a.pem"', "t.toml:2: certificate and key are given together"),
        ('[tls]\nextra_authorities = ["/nowhere/a.pem"]', "t.toml:2: /nowhere/a.pem does not exist"),
        ('[accounts]\nregistration = "maybe"', "t.toml:2: registration is one of auto, open, token, closed"),
        ("[accounts]\nscram_iterations = 5", "t.toml:2: scram_iterations is between"),
        ("[limits]\nevents_per_s = -1", "t.toml:2: events_per_s cannot be negative"),
        ("[limits]\nevents_per_s = true", "t.toml:2: events_per_s must be a number, not True"),
        ('[outbound]\nallow_networks = ["10.0.0.0/33"]', "t.toml:2: '10.0.0.0/33' is not a network"),
        ('[listen]\nproxy_protocol = ["lb"]', "t.toml:2: 'lb' is no address or network like"),
        ('[outbound]\nkey_notaries = ["a b"]', "t.toml:2: 'a b' is not a server name"),
        ('[server]\nfederation_address = "https://a"', "t.toml:2: federation_address is a name like"),
        ('[listen]\nfederation = ["8448"]', "t.toml:2: '8448' is not an address like"),
        ('[log]\nlevel = "loud"', "t.toml:2: level is one of"),
        ("[irc]\noperator = 5", "t.toml:2: irc.operator is a list of tables: write [[irc.operator]]"),
        ('[[irc.operator]]\nacount = "a"', "t.toml:2: unknown option acount in [irc.operator]; did you mean account?"),
        ('[[irc.operator]]\noperator_class = ""', "t.toml:1: every operator has an account of its own"),
        ('[[sso.provider]]\nid = "A b"', "t.toml:2: every provider has an id of its own"),
        ('[[sso.provider]]\nid = "a"\nissuer = "http://a.example"', "t.toml:3: issuer is an address like"),
        ('[[sso.provider]]\nid = "a"\nname = "A"', "t.toml:3: every provider has a name, and a client_id"),
        ('[[sso.provider]]\nscopes = ["profile"]', 't.toml:2: scopes has "openid" among them'),
        ("[accounts]\nterms_for_all = true", "t.toml:2: terms_for_all needs documents: [[accounts.terms]]"),
        ('[[accounts.terms]]\nid = "A b"', "t.toml:2: every document has an id of its own"),
        ('[[accounts.terms]]\nid = "a"', "t.toml:2: a needs a text: write [[accounts.terms.text]] below it"),
        ('[[accounts.terms]]\nid = "a"\n[[accounts.terms.text]]\nlanguage = "version"', "t.toml:4: language is"),
        ('[[accounts.terms]]\nid = "a"\n[[accounts.terms.text]]\nurl = "terms.html"', "t.toml:4: url is an address"),
        ('[[irc.operator]]\naccount = "a"\noperator_class = "b"', "t.toml:3: there is no operator class 'b'"),
        ('[[irc.operator]]\naccount = "a"\npassword = "tea"', "t.toml:3: password is what `tripoint config hash`"),
        ('[[irc.operator_class]]\nname = "a"\nprivileges = ["fly"]', "t.toml:3: 'fly' is none of ban, invite, kill"),
        ('[[irc.webirc]]\nname = "a"', "t.toml:2: every web gateway has a name, and addresses"),
        ('[[irc.webirc]]\nname = "a"\naddresses = ["web"]', "t.toml:3: 'web' is no address or network"),
        ('[[irc.webirc]]\nname = "a"\naddresses = ["::1"]\npassword = "tea"', "t.toml:4: password is what `tripoint"),
        ("[listen]\nirc_tls = []\n[irc]\nsts_duration_s = 60", "t.toml:4: sts_duration_s sends clients to"),
        ('[irc]\ndnsbl = ["a b"]', "t.toml:2: 'a b' is no name of the DNS"),
        ('[irc]\nadmin = ["a", "b", "c", "d"]', "t.toml:2: admin has at most three lines"),
        ('[irc]\nicon_url = "cat.png"', "t.toml:2: icon_url is an address like"),
        ('[mail]\nsecurity = "ssl"', "t.toml:2: security is one of starttls, tls, none"),
        ("[mail]\nport = 0", "t.toml:2: port is between 1 and 65535"),
        ('[mail]\nhost = "a b"', 't.toml:2: host is a name like "mail.example.org"'),
        ('[mail]\nhost = "mail.example.org"\nsender = "tripoint"', "t.toml:3: sender is an address like"),
        ('[mail]\nhost = "mail.example.org"\nuser = "a"', "t.toml:3: user and password_file are given together"),
        (
            '[mail]\nhost = "mail.example.org"\nuser = "a"\npassword_file = "/nowhere/secret"',
            "t.toml:4: /nowhere/secret cannot be read: No such file",
        ),
        (
            '[mail]\nhost = "mail.example.org"\nuser = "a"\npassword_file = "/dev/null"\nsecurity = "none"',
            "t.toml:5: a password goes over TLS alone",
        ),
        (
            '[mail]\nhost = "mail.example.org"\nuser = "a"\npassword_file = "/dev/null"',
            "t.toml:4: /dev/null holds no password",
        ),
        (
            '[listen]\nhttp = ["0.0.0.0:80"]\n[mail]\nhost = "mail.example.org"\nsender = "a@example.org"',
            "t.toml:1: public_url is needed for [mail]",
        ),
        ("server = 5", "t.toml:1: server is a table: write [server]"),
        ("[server", "t.toml: not TOML:"),
    ],
)
def test_mistakes_are_told_with_file_line_and_fix(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "t.toml")
    (mistake,) = [m for m in caught.value.mistakes if m.startswith(said)] or [str(caught.value)]
    assert mistake.startswith(said), mistake


def test_words_of_letters(tmp_path: Path) -> None:
    mail = '[listen]\nhttp = []\n[mail]\nhost = "localhost"\nsender = "a@example.org"\nwords = '
    (tmp_path / "de.toml").write_text('reset_subject = "Neues Passwort bei {server}"\n')
    config = parse_config(f'{mail}"{tmp_path}"', "t.toml")
    assert read_letter_words(config.mail.words) == {"de": {"reset_subject": "Neues Passwort bei {server}"}}
    (tmp_path / "fr.toml").write_text('reset_subject = "Nouveau"\nnothing = "x"\n')
    (tmp_path / "no_language.toml").write_text("")
    (tmp_path / "it.toml").write_text("reset_subject =")
    with pytest.raises(ConfigError) as caught:
        parse_config(f'{mail}"{tmp_path}"', "t.toml")
    said = "\n".join(caught.value.mistakes)
    assert "fr.toml: reset_subject has other placeholders" in said and "fr.toml: there is no sentence nothing" in said
    assert "no_language.toml: is called after its language" in said and "it.toml: cannot be read" in said
    with pytest.raises(ConfigError, match="is no folder"):
        parse_config(f'{mail}"{tmp_path / "none"}"', "t.toml")


def test_lists_within_lists_of_tables() -> None:
    text = (
        '[[accounts.terms]]\nid = "terms"\nversion = "1"\n'
        '[[accounts.terms.text]]\nlanguage = "en"\nname = "Terms"\nurl = "https://x.example/en"\n'
        '[[accounts.terms.text]]\nlanguage = "de"\nname = "Regeln"\nurl = "https://x.example/de?v=1"\n'
        '[[accounts.terms]]\nid = "privacy"\nversion = "2"\n'
        '[[accounts.terms.text]]\nlanguage = "en"\nname = "Privacy"\nurl = "https://x.example/privacy"\n'
    )
    terms = parse_config(text, "t.toml").accounts.terms
    assert [(one.id, one.version, [text.language for text in one.text]) for one in terms] == [
        ("terms", "1", ["en", "de"]),
        ("privacy", "2", ["en"]),
    ]


def test_lists_of_tables() -> None:
    hashed = make_hash("tea", 10_000)
    text = (
        '[[irc.operator_class]]\nname = "helper"\nprivileges = ["kill", "ban"]\n'
        f'[[irc.operator]]\naccount = "bob"\noperator_class = "helper"\npassword = "{hashed}"\n'
        '[[irc.operator]]\naccount = "ann"\n'
    )
    irc = parse_config(text, "t.toml").irc
    assert irc.operator_class == (OperatorClass("helper", ("kill", "ban")),)
    assert irc.operator == (Operator("bob", "helper", hashed), Operator("ann"))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('[server]\nnmae = "x"\nmotd = 5\n[limitz]\n', "t.toml")
    assert len(caught.value.mistakes) == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b'[server]\nmotd = "caf\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_the_example_says_every_option_and_changes_nothing() -> None:
    text = example()
    assert parse_config(text, "example") == Config()
    # With every option taken in it is still the default.
    inside = re.sub(r"(?m)^# (\w+ = )", r"\1", text)
    assert parse_config(inside, "example") == Config()
    for table in fields(Config):
        for option in fields(getattr(Config(), table.name)):
            assert f"# {option.name} = " in text or f"# [[{table.name}.{option.name}]]" in text
            assert option.metadata["help"]


def test_a_letter_is_tried(tmp_path: Path) -> None:
    """`tripoint config mail`, against a real mail server."""
    certificate = make_certificate(tmp_path, "localhost")
    (tmp_path / "password").write_text(PASSWORD + "\n")

    async def work() -> None:
        async with mail_house(certificate.context()) as house:
            (tmp_path / "t.toml").write_text(
                f'[mail]\nhost = "localhost"\nport = {house.port}\nuser = "{USER}"\n'
                f'password_file = "{tmp_path / "password"}"\nsender = "chat@example.org"\n'
                f'[tls]\nextra_authorities = ["{certificate.path}"]\n'
            )
            tried = ["config", "mail", "alice@home.example", "--config", str(tmp_path / "t.toml")]
            done = await asyncio.to_thread(CliRunner().invoke, main, tried)
            assert (done.exit_code, done.output) == (0, "localhost took the letter\n")
            assert house.recipients == [["alice@home.example"]]
            house.refuses = "550 no such user"
            done = await asyncio.to_thread(CliRunner().invoke, main, tried)
            assert done.exit_code == 1
            said = "localhost did not take the letter: it does not take the address: 550 no such user\n"
            assert done.output == said

    run(work)
    done = CliRunner().invoke(main, ["config", "mail", "alice@home.example"])
    assert (done.exit_code, done.output) == (1, "No mail is sent: mail.host is empty\n")
