"""What the administrators' endpoints have in common: users, pages, flags, as they stand in requests.

The words of the errors are this server's; errcodes are those that tools expect.
"""

from typing import TypeVar

from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, parse_room_id, parse_user_id, server_of
from tripoint.core.listings import Page
from tripoint.matrix.errors import MatrixError, invalid
from tripoint.matrix.registry import Call
from tripoint.rooms.ports import RoomReader

V1, V2, V3 = (f"/_synapse/admin/v{number}" for number in (1, 2, 3))
MAX_PAGE = 1000

OrderT = TypeVar("OrderT", bound=str)


def user_of(call: Call, server: ServerName, *, name: str = "user_id") -> UserId:
    """The user of this server whom a path names. M_INVALID_PARAM otherwise."""
    user_id = parse_user_id(call.path[name])
    if server_of(user_id) != server:
        raise invalid("That user does not belong to this server")
    return user_id


def room_of(call: Call, name: str = "room_id") -> RoomId:
    return parse_room_id(call.path[name])


async def room_named(reader: RoomReader, text: str) -> RoomId:
    """A room by its id or by an alias. M_NOT_FOUND."""
    if not text.startswith("#"):
        return parse_room_id(text)
    room_id = await reader.resolve_alias(RoomAlias(text))
    if room_id is None:
        raise not_found("There is no room of that name")
    return room_id


def page_of(call: Call, limit: int = 100) -> Page:
    """`from` and `limit` of a list."""
    wanted = call.number("limit")
    return Page(call.number("from") or 0, min(limit if wanted is None else wanted, MAX_PAGE))


def next_page(page: Page, shown: int, total: int) -> int | None:
    """Where the next page begins; None: this was the last."""
    return page.start + shown if page.start + shown < total else None


def flag_of(call: Call, name: str) -> bool | None:
    """A query parameter that is true or false."""
    text = call.query(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise invalid(f"{name} is true or false")
    return text == "true"


def order_of(call: Call, orders: tuple[OrderT, ...], default: OrderT) -> OrderT:
    text = call.query("order_by")
    if text is None:
        return default
    for order in orders:
        if text == order:
            return order
    raise invalid(f"order_by is one of {', '.join(orders)}")


def backward_of(call: Call, default: str = "f") -> bool:
    """`dir`: b turns the order round."""
    direction = call.query("dir") or default
    if direction not in ("f", "b"):
        raise invalid("dir is f or b")
    return direction == "b"


def not_found(error: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", error)


def not_here(error: str) -> MatrixError:
    """What this server does not have at all."""
    return MatrixError(400, "M_UNRECOGNIZED", error)
