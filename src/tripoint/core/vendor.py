"""The names under which tripoint's own extensions travel: one constant per protocol.

Event types and fields of Matrix use `V`, capability and vendor names of IRC `IRC_VENDOR`, XML namespaces
`NS`. The list of extensions is in docs/mapping.md, "Own extensions".
"""

from __future__ import annotations

from typing import Final

V: Final = "dev.tripoint"
IRC_VENDOR: Final = "tripoint.dev"
NS: Final = "https://tripoint.dev/ns"
