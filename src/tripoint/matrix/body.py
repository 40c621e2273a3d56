"""Members of request bodies, with the types that they have to have.

What is not there is M_MISSING_PARAM, what is of another type M_BAD_JSON. spec: client-server "Common error codes"
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.matrix.errors import bad_json, invalid, missing


def bool_in(body: JsonObject, name: str) -> bool | None:
    """A field of a body that is true or false; None: it is not there. M_BAD_JSON."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_json(f"{name} is true or false")
    return value


def text_in(body: JsonObject, name: str) -> str | None:
    """A field of a body that is a text; None: it is not there. M_BAD_JSON."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_json(f"{name} is a text")
    return value


def needed_text(body: JsonObject, name: str) -> str:
    """The same, of what has to be there. M_MISSING_PARAM."""
    value = text_in(body, name)
    if value is None:
        raise missing(name)
    return value


def number_in(body: JsonObject, name: str) -> int | None:
    """A field of a body that is a whole number, 0 or more; None: it is not there. M_INVALID_PARAM."""
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise invalid(f"{name} is a whole number, 0 or more")
    return value
