"""Which languages somebody reads, as browsers and clients say it. Pure. spec: RFC9110 12.5.4"""

import re
from typing import Final

_RANGE: Final = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?\Z")


def read_accept_language(header: str | None) -> list[str]:
    """The languages of an Accept-Language header, the dearest first. What is malformed is skipped."""
    ranges: list[tuple[float, int, str]] = []
    for number, part in enumerate((header or "")[:500].split(",")[:20]):
        matched = _RANGE.match(part)
        if matched is not None and matched[1] != "*":
            quality = float(matched[2] or 1)
            if quality > 0:
                ranges.append((-quality, number, matched[1]))
    return [tag for _, _, tag in sorted(ranges)]
