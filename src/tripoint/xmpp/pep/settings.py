"""Settings of nodes as data forms, both ways. Pure.

spec: XEP-0060 7.1.5 (publish-options), 8.2 (configuration), 16.4.3, 16.4.4; XEP-0004 3.2, 3.3.
"""

from collections.abc import Callable
from typing import Final

from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, Publishers, SendLast
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import DATA_FORMS_NS, PUBSUB_NS
from tripoint.xmpp.wire import escape_attribute, escape_text

NODE_CONFIG: Final = f"{PUBSUB_NS}#node_config"
META_DATA: Final = f"{PUBSUB_NS}#meta-data"
_MAX_TEXT: Final = 1000
_MAX_GROUPS: Final = 20
_PREFIX: Final = "pubsub#"
_BOOLEANS: Final = {"1": True, "true": True, "0": False, "false": False}

# Fields that have one value here. Whoever asks for that value gets it. spec: XEP-0060 16.4.4
_FIXED: Final = {
    "deliver_notifications": ("1", "true"),
    "notification_type": ("headline",),
    "notify_config": ("0", "false"),
    "notify_sub": ("0", "false"),
    "presence_based_delivery": ("1", "true"),
    "purge_offline": ("0", "false"),
    "subscribe": ("1", "true"),
    "item_expire": ("max",),
    "node_type": ("leaf",),
}


def _boolean(values: list[str]) -> object:
    return _BOOLEANS[values[0].strip()]


def _count(values: list[str]) -> object:
    """spec: XEP-0060 16.4.4: `max` is as many as the server keeps"""
    if values[0].strip() == "max":
        return MAX_ITEMS
    number = int(values[0].strip()[:9])
    if not 0 < number <= MAX_ITEMS:
        raise ValueError(number)
    return number


def _text(values: list[str]) -> object:
    return values[0][:_MAX_TEXT]


def _groups(values: list[str]) -> object:
    return tuple(sorted({value[:_MAX_TEXT] for value in values}))[:_MAX_GROUPS]


def _reply(values: list[str]) -> object:
    """spec: XEP-0060 12.17: the owner's address is that of the node"""
    return {"publisher": True, "owner": False, "none": False}[values[0].strip()]


_Read = Callable[[list[str]], object]
# Name of a field, without `pubsub#`: the setting it is, how it is read, its type in a form, its label.
_FIELDS: Final[dict[str, tuple[str, _Read, str, str]]] = {
    "title": ("title", _text, "text-single", "A name for the node"),
    "type": ("type", _text, "text-single", "Namespace of what is published"),
    "access_model": ("access", lambda values: Access(values[0].strip()), "list-single", "Who may read and hear of it"),
    "publish_model": ("publishers", lambda values: Publishers(values[0].strip()), "list-single", "Who may publish"),
    "itemreply": ("names_publishers", _reply, "list-single", "Whose address items carry"),
    "roster_groups_allowed": ("groups", _groups, "list-multi", "Groups of contacts that may"),
    "max_items": ("max_items", _count, "text-single", "How many items stay"),
    "persist_items": ("persist_items", _boolean, "boolean", "Whether items stay"),
    "send_last_published_item": (
        "send_last",
        lambda values: SendLast(values[0].strip()),
        "list-single",
        "When the newest item is sent",
    ),
    "deliver_payloads": ("deliver_payloads", _boolean, "boolean", "Whether notifications carry the item"),
    "notify_retract": ("notify_retract", _boolean, "boolean", "Whether it is told that items go"),
    "notify_delete": ("notify_delete", _boolean, "boolean", "Whether it is told that the node goes"),
}


def read_settings(fields: dict[str, list[str]], *, known_only: bool) -> dict[str, object]:
    """The settings that a submitted form names, by the fields of NodeConfig.

    `known_only`: Problem for a field that is not known (XEP-0060 7.1.5); else it is skipped (XEP-0004 3.2). Problem for
    a value that cannot be.
    """
    settings: dict[str, object] = {}
    for name, values in fields.items():
        short = name.removeprefix(_PREFIX)
        if name == "FORM_TYPE":
            continue
        if name == short or (short not in _FIELDS and short not in _FIXED):
            if known_only:
                raise Problem("bad-request", f"The setting {name} is not known here")
            continue
        if short in _FIXED:
            if values and values[0].strip() not in _FIXED[short]:
                raise refused_setting(name, values[0])
            continue
        setting, read, _, _ = _FIELDS[short]
        try:
            settings[setting] = read(values or [""])
        except (ValueError, KeyError):
            raise refused_setting(name, (values or [""])[0]) from None
    return settings


def refused_setting(name: str, value: str) -> Problem:
    """A setting that a node cannot have here."""
    return Problem("not-acceptable", f"{name} cannot be {value[:50]} here")


def _values(config: NodeConfig) -> dict[str, tuple[str, ...]]:
    return {
        "title": (config.title,) if config.title else (),
        "type": (config.type,) if config.type else (),
        "access_model": (config.access.value,),
        "publish_model": (config.publishers.value,),
        "itemreply": ("publisher" if config.names_publishers else "none",),
        "roster_groups_allowed": config.groups,
        "max_items": (str(config.max_items),),
        "persist_items": (_said(config.persist_items),),
        "send_last_published_item": (config.send_last.value,),
        "deliver_payloads": (_said(config.deliver_payloads),),
        "notify_retract": (_said(config.notify_retract),),
        "notify_delete": (_said(config.notify_delete),),
    }


def _said(on: bool) -> str:
    return "1" if on else "0"


_OPTIONS: Final = {
    "access_model": [access.value for access in Access],
    "publish_model": [who.value for who in Publishers],
    "itemreply": ["publisher", "none"],
    "send_last_published_item": [when.value for when in SendLast],
}


def config_form(config: NodeConfig) -> str:
    """The form to change a node's settings. spec: XEP-0060 8.2.2"""
    values = _values(config)
    fields = [
        _field(name, values[name], f" type='{kind}' label='{escape_attribute(label)}'", _OPTIONS.get(name, ()))
        for name, (_, _, kind, label) in _FIELDS.items()
    ]
    return _form("form", NODE_CONFIG, "".join(fields))


def meta_data_form(config: NodeConfig, owner: str) -> str:
    """What a node is, for who may read it. spec: XEP-0060 5.4"""
    values = _values(config)
    shown = ("title", "type", "access_model", "publish_model", "max_items", "persist_items", "send_last_published_item")
    fields = "".join([_field(name, values[name]) for name in shown if values[name]])
    return _form("result", META_DATA, f"{fields}{_field('owner', (owner,))}")


def _field(name: str, values: tuple[str, ...], attributes: str = "", options: list[str] | tuple[str, ...] = ()) -> str:
    offered = "".join([f"<option><value>{option}</value></option>" for option in options])
    said = "".join([f"<value>{escape_text(value)}</value>" for value in values])
    return f"<field var='{_PREFIX}{name}'{attributes}>{offered}{said}</field>"


def _form(kind: str, form_type: str, fields: str) -> str:
    hidden = f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>"
    return f"<x xmlns='{DATA_FORMS_NS}' type='{kind}'>{hidden}{fields}</x>"
