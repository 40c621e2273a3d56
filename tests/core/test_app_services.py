"""Registrations of application services: what is refused, and whose a name is.

spec: Matrix application-service-api "Registration"
"""

from pathlib import Path
from typing import Any

import pytest

from tripoint.config.app_services import BadFile, load_app_services
from tripoint.config.load import ConfigError, parse_config
from tripoint.core.app_services import AppServices, BadRegistration, read_registration
from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId

SERVER = ServerName("example.org")


def registration(**changes: Any) -> dict[str, Any]:
    """The example of the specification, changed."""
    return {
        "id": "IRC Bridge",
        "url": "http://127.0.0.1:1234",
        "as_token": "30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46",
        "hs_token": "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e",
        "sender_localpart": "_irc_bot",
        "namespaces": {
            "users": [{"exclusive": True, "regex": "@_irc_bridge_.*"}],
            "aliases": [{"exclusive": False, "regex": "#_irc_bridge_.*"}],
            "rooms": [],
        },
        **changes,
    }


def users(*patterns: str, exclusive: bool = True) -> dict[str, Any]:
    return {"users": [{"exclusive": exclusive, "regex": pattern} for pattern in patterns]}


def test_what_the_example_of_the_specification_says() -> None:
    service = read_registration(registration(), SERVER)
    assert service.sender == "@_irc_bot:example.org"
    assert service.covers_user(UserId("@_irc_bridge_bob:example.org"))
    assert service.owns_user(UserId("@_irc_bot:example.org"))
    assert not service.covers_user(UserId("@bob:example.org"))
    # spec: "application services can only register interest in *local* users"
    assert not service.covers_user(UserId("@_irc_bridge_bob:elsewhere.example"))
    assert service.covers_alias(RoomAlias("#_irc_bridge_tea:example.org"))
    assert not service.owns_alias(RoomAlias("#_irc_bridge_tea:example.org"))
    assert not service.covers_room(RoomId("!a:example.org"))
    assert (service.rate_limited, service.receive_ephemeral, service.protocols, service.bot) == (True, False, (), False)
    assert service.url == "http://127.0.0.1:1234"


def test_secrets_do_not_show_themselves() -> None:
    service = read_registration(registration(), SERVER)
    assert service.as_token not in repr(service) and service.hs_token not in repr(service)


def test_all_settings() -> None:
    told = {
        "url": "https://bridge.example/base/",
        "rate_limited": False,
        "receive_ephemeral": True,
        "protocols": ["irc", "irc"],
        "dev.tripoint.bot": True,
    }
    service = read_registration(registration(**told), SERVER)
    assert service.url == "https://bridge.example/base"
    assert not service.rate_limited and service.receive_ephemeral and service.bot
    assert service.protocols == ("irc",)
    services = AppServices([service])
    ghost, sender = UserId("@_irc_bridge_bob:example.org"), UserId("@_irc_bot:example.org")
    assert services.is_bot(ghost) and services.is_bot(sender) and not services.is_bot(UserId("@bob:example.org"))
    assert services.is_unlimited(ghost) and services.is_unlimited(sender)
    assert not services.is_unlimited(UserId("@bob:example.org"))


def test_the_sender_is_never_limited_and_people_are_always() -> None:
    spaces = {"users": [*users("@_irc_.*")["users"], *users("@.*", exclusive=False)["users"]]}
    services = AppServices([read_registration(registration(rate_limited=True, namespaces=spaces), SERVER)])
    assert services.is_unlimited(UserId("@_irc_bot:example.org"))
    assert not services.is_unlimited(UserId("@_irc_bob:example.org"))
    free = AppServices([read_registration(registration(rate_limited=False, namespaces=spaces), SERVER)])
    assert free.is_unlimited(UserId("@_irc_bob:example.org"))
    assert not free.is_unlimited(UserId("@alice:example.org"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None}, "id is missing"),
        ({"id": "a/b"}, "no /"),
        ({"as_token": 17}, "put it in quotes"),
        ({"as_token": "two words"}, "one word"),
        ({"hs_token": registration()["as_token"]}, "two different secrets"),
        ({"url": "bridge.example"}, "url is an address"),
        ({"url": "ftp://bridge.example"}, "url is an address"),
        ({"url": "http://me@bridge.example"}, "no user name"),
        ({"sender_localpart": "@bot:example.org"}, "sender_localpart"),
        ({"sender_localpart": "Bot"}, "lower case"),
        ({"namespaces": None}, "namespaces is missing"),
        ({"namespaces": {"users": {}}}, "is a list"),
        ({"namespaces": {"users": [{"exclusive": True}]}}, "has a regex"),
        ({"namespaces": {"users": [{"regex": "@a.*"}]}}, "exclusive: true or false"),
        ({"namespaces": users("@a(.*")}, "no regular expression"),
        ({"namespaces": users("@_xmpp_.*")}, "people of other XMPP servers"),
        ({"namespaces": users("@_s.*")}, "keeps for its notices"),
        ({"rate_limited": "no"}, "true or false"),
        ({"protocols": "irc"}, "list of names"),
    ],
)
def test_what_cannot_be_used(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRegistration, match=said):
        read_registration(registration(**changes), SERVER)


def test_a_url_has_to_be_said() -> None:
    without = registration()
    del without["url"]
    with pytest.raises(BadRegistration, match="url is missing"):
        read_registration(without, SERVER)
    assert read_registration(registration(url=None), SERVER).url is None


OTHER = {"id": "other", "as_token": "a2", "hs_token": "h2", "sender_localpart": "other_bot"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "IRC Bridge"}, "the id IRC Bridge"),
        ({"as_token": registration()["as_token"]}, "same as_token"),
        ({"sender_localpart": "_irc_bot"}, "same sender_localpart"),
        ({"sender_localpart": "_irc_bridge_other"}, "exclusive namespace of IRC Bridge"),
        ({"namespaces": users("@_irc_bridge_.*")}, "both have"),
        ({"namespaces": users("@_irc_bridge_bob:example.org")}, "both have @_irc_bridge_bob:example.org"),
        ({"namespaces": users("@_irc_.+:example\\.org")}, "_irc_bot:example.org, the sender"),
        ({"namespaces": users("^@.*_?:example\\.org$")}, "people of other|both have"),
    ],
)
def test_two_that_cannot_stand_beside_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRegistration, match=said):
        one = read_registration(registration(), SERVER)
        AppServices([one, read_registration(registration(**{**OTHER, "namespaces": {}, **changes}), SERVER)])


@pytest.mark.parametrize("pattern", ["@_signal_.*", "@_irc_b[0-9]:.*", "@other_.*:example\\.org"])
def test_two_that_can(pattern: str) -> None:
    one = read_registration(registration(), SERVER)
    other = read_registration(registration(**{**OTHER, "namespaces": users(pattern)}), SERVER)
    services = AppServices([one, other])
    assert services.of_token("a2") is other and services.of_token("h2") is None
    assert services.named("other") is other
    # What is nobody's alone may overlap: a second service looks on.
    loose = read_registration(registration(**{**OTHER, "namespaces": users("@_irc_.*", exclusive=False)}), SERVER)
    assert AppServices([one, loose]).owner_of(UserId("@_irc_bridge_x:example.org")) is one


def test_who_may_make_an_alias() -> None:
    spaces = {**users("@_irc_.*"), "aliases": [{"exclusive": True, "regex": "#irc_.*"}]}
    services = AppServices([read_registration(registration(namespaces=spaces), SERVER)])
    alias, ghost = RoomAlias("#irc_tea:example.org"), UserId("@_irc_bob:example.org")
    alice = UserId("@alice:example.org")
    assert services.may_name(ghost, alias) and not services.may_name(alice, alias)
    assert services.may_name(alice, RoomAlias("#tea:example.org"))


YAML = """\
id: irc
url: null
as_token: a-secret
hs_token: another-secret
sender_localpart: ircbot
namespaces:
  users:
    - regex: '@irc_.*'
      exclusive: true
"""


def test_files_are_read_and_their_mistakes_told(tmp_path: Path) -> None:
    file = tmp_path / "irc.yaml"
    file.write_text(YAML)
    (service,) = load_app_services([str(file)], SERVER).all
    assert (service.service_id, service.url, service.sender) == ("irc", None, "@ircbot:example.org")
    with pytest.raises(BadFile, match="the id irc"):
        load_app_services([str(file), str(file)], SERVER)
    for text, said in (
        ("as_token: [a-secret\nid: x", "is not YAML"),
        (YAML.replace("ircbot", "nickserv"), "keeps for itself"),
        (YAML.replace("ircbot", "guest-4"), "keeps for itself"),
        (YAML.replace("ircbot", "_server"), "keeps for itself"),
        ("just a word", "no map of settings"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ):
        file.write_text(text)
        with pytest.raises(BadFile, match=said) as caught:
            load_app_services([str(file)], SERVER)
        assert str(file) in str(caught.value) and "a-secret" not in str(caught.value)


def test_the_configuration_tells_of_a_bad_file(tmp_path: Path) -> None:
    text = f'[server]\nname = "example.org"\n[matrix]\napp_services = ["{tmp_path / "none.yaml"}"]\n'
    with pytest.raises(ConfigError, match=r"tripoint.toml:4: .*none.yaml cannot be read"):
        parse_config(text, "tripoint.toml")
    (tmp_path / "none.yaml").write_text(YAML)
    assert parse_config(text, "tripoint.toml").matrix.app_services == (str(tmp_path / "none.yaml"),)


def test_the_example_of_the_manual_is_a_good_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operate" / "bridges.md").read_text("utf-8")
    registered = text.partition("```yaml\n")[2].partition("```")[0]
    configured = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "telegram.yaml").write_text(registered)
    (service,) = load_app_services([str(tmp_path / "telegram.yaml")], SERVER).all
    assert service.owns_user(UserId("@telegram_17:example.org"))
    assert service.owns_alias(RoomAlias("#telegram_tea:example.org"))
    assert not service.owns_user(UserId("@telegram_17:example.organisation"))
    named = configured.replace("/etc/tripoint/telegram.yaml", str(tmp_path / "telegram.yaml"))
    config = parse_config(f'[server]\nname = "example.org"\n{named}', "tripoint.toml")
    assert config.matrix.app_services == (str(tmp_path / "telegram.yaml"),)
