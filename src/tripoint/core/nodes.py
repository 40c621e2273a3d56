"""What an account publishes: a node's settings, and an item of it. Values; accounts/nodes.py keeps them.

spec: XEP-0060 4.5 (access), 16.4.4 (settings); XEP-0163 5 (their defaults). Read next: accounts/nodes.py.
"""

from enum import Enum

from msgspec import Struct

from tripoint.core.ids import UserId

# What one account may publish. OMEMO's older form has a node for each device; avatars are the largest payloads.
MAX_NODES = 500
MAX_ITEMS = 1000
MAX_PAYLOAD_BYTES = 128 * 1024
MAX_BYTES = 16 * 1024 * 1024
MAX_NAME_BYTES = 1023
MAX_SUBSCRIPTIONS = 1000
MAX_SUBSCRIPTIONS_EACH = 100
MAX_AFFILIATIONS = 500


class Access(Enum):
    """Who may read a node and hears of it. spec: XEP-0060 4.5"""

    OPEN = "open"
    PRESENCE = "presence"  # who may see the owner's presence
    ROSTER = "roster"  # who stands in certain groups of the owner's roster
    WHITELIST = "whitelist"  # the owner, and members


class Publishers(Enum):
    """Who may publish at a node besides its owner. spec: XEP-0060 16.4.4 (publish_model)"""

    PUBLISHERS = "publishers"  # those whom the owner has made publishers
    SUBSCRIBERS = "subscribers"
    OPEN = "open"


class SendLast(Enum):
    """When somebody gets the newest item without asking. spec: XEP-0060 16.4.4"""

    NEVER = "never"
    ON_SUB = "on_sub"
    ON_SUB_AND_PRESENCE = "on_sub_and_presence"


class NodeConfig(Struct, frozen=True):
    """Settings of a node. `max_items` is how many of the newest items stay; `affiliations`: the bare JIDs that are
    member, publisher, publish-only or outcast, and which of them (XEP-0060 4.1); `names_publishers`: items say who has
    published them (XEP-0060 7.1.2.3)."""

    access: Access = Access.PRESENCE
    groups: tuple[str, ...] = ()
    max_items: int = 1
    persist_items: bool = True
    send_last: SendLast = SendLast.ON_SUB_AND_PRESENCE
    deliver_payloads: bool = True
    notify_retract: bool = False
    notify_delete: bool = False
    title: str = ""
    type: str = ""
    affiliations: tuple[tuple[str, str], ...] = ()
    publishers: Publishers = Publishers.PUBLISHERS
    names_publishers: bool = False


class Subscription(Struct, frozen=True):
    """A local user who asked to hear of a node, at an address with a resource or without."""

    node: str
    jid: str
    subscriber: UserId


class NodeItem(Struct, frozen=True):
    """An item: `payload` is an XML element that says its own namespace; `publisher` the full JID that published it."""

    item_id: str
    payload: str
    publisher: str
    ts_ms: int
