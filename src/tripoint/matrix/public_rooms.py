"""Pages of this server's room directory, for its clients and for other servers alike.

spec: Matrix client-server "Listing rooms"; server-server-api "Published Room Directory"
"""

import re
from collections.abc import Sequence
from typing import Any

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import list_at, object_at
from tripoint.matrix.body import text_in
from tripoint.matrix.errors import bad_json, invalid
from tripoint.rooms.ports import Listing, PublicRoom, RoomReader

MAX_PAGE = 500
_PAGE = re.compile(r"[0-9]{1,9}\Z")


def check_search(body: JsonObject) -> JsonObject:
    """The body of a search for rooms; the fields that are looked at have their types. Raises MatrixError."""
    if not isinstance(body.get("filter", {}), dict):
        raise bad_json("filter must be an object")
    criteria = object_at(body, "filter")
    types = criteria.get("room_types", [])
    if not isinstance(types, list) or not all(one is None or isinstance(one, str) for one in types):
        raise bad_json("room_types is a list of types of rooms, and null for rooms without one")
    text_in(criteria, "generic_search_term")
    text_in(body, "since")
    limit = body.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise invalid("limit must be a number")
    return body


async def room_page(reader: RoomReader, wanted: JsonObject) -> dict[str, Any]:
    """One page. `wanted` is a body that check_search() has seen."""
    criteria = object_at(wanted, "filter")
    search, since, limit = criteria.get("generic_search_term"), wanted.get("since"), wanted.get("limit")
    if isinstance(since, str) and since and _PAGE.match(since) is None:
        raise invalid("since is not a token of this server")
    offset = int(since) if isinstance(since, str) and since else 0
    count = min(limit, MAX_PAGE) if isinstance(limit, int) and limit else MAX_PAGE
    rows: Sequence[PublicRoom] = await reader.public_rooms(
        search=search if isinstance(search, str) else None, limit=1_000_000, offset=0, listing=_listing(wanted)
    )
    if isinstance(criteria.get("room_types"), list):
        types = list_at(criteria, "room_types")
        rows = [row for row in rows if row.room_type in types]
    body: dict[str, Any] = {
        "chunk": [_entry(row) for row in rows[offset : offset + count]],
        "total_room_count_estimate": len(rows),
    }
    if offset + count < len(rows):
        body["next_batch"] = str(offset + count)
    if offset:
        body["prev_batch"] = str(max(0, offset - count))
    return body


def _listing(wanted: JsonObject) -> Listing:
    """spec: include_all_networks; third_party_instance_id "can only be used if include_all_networks is false" """
    everywhere, network = wanted.get("include_all_networks") is True, wanted.get("third_party_instance_id")
    if not isinstance(network, str) or not network:
        return Listing(networks=everywhere)
    if everywhere:
        raise invalid("third_party_instance_id names one network, include_all_networks all of them")
    return Listing(own=False, networks=True, network=network)


def _entry(row: PublicRoom) -> dict[str, Any]:
    """spec: PublishedRoomsChunk."""
    entry: dict[str, Any] = {
        "room_id": row.room_id,
        "num_joined_members": row.joined,
        "world_readable": row.world_readable,
        "guest_can_join": row.guest_can_join,
        "join_rule": row.join_rule,
    }
    for key, value in (
        ("canonical_alias", row.alias),
        ("name", row.name),
        ("topic", row.topic),
        ("avatar_url", row.avatar_url),
        ("room_type", row.room_type),
    ):
        if value is not None:
            entry[key] = value
    return entry
