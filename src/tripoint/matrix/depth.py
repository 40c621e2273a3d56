"""How deep JSON from a client may be nested, wherever in a request it stands. Pure.

spec: Matrix client-server sets no limit; a server has to have one.
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject

# Deeper JSON serves nobody, and whoever writes or walks it later has limits of their own.
MAX_DEPTH: Final = 100


def too_deep(body: bytes, value: JsonObject) -> bool:
    """Whether `value`, read from `body`, is nested deeper than MAX_DEPTH. Most have fewer brackets."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
