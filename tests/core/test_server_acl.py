"""spec: Matrix m.room.server_acl, the steps in which an access control list is applied; glob-style-matching"""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.glob import glob_expression
from tripoint.core.ids import ServerName
from tripoint.core.server_acl import ServerAcl


@pytest.mark.parametrize(
    ("content", "server", "allowed"),
    [
        # 2. "If the server name is an IP address (v4 or v6) literal, and allow_ip_literals is present and false, deny."
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "[::1]:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4.example", True),
        # "Defaults to true if missing or otherwise not a boolean."
        ({"allow": ["*"], "allow_ip_literals": 0}, "1.2.3.4", True),
        ({"allow": ["*"]}, "[::1]", True),
        # 3. "If the server name matches an entry in the deny list, deny."
        ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com", False),
        # "evil.com, evil.com:8448, and evil.com:1234 would all match rules that apply to evil.com"
        ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com:1234", False),
        ({"allow": ["*"], "deny": ["evil.com"]}, "not-evil.com", True),
        ({"allow": ["*"], "deny": ["*.evil.com"]}, "a.evil.com", False),
        ({"allow": ["*"], "deny": ["*.evil.com"]}, "evil.com", True),
        ({"allow": ["*"], "deny": ["e?il.com"]}, "evil.com", False),
        ({"allow": ["*"], "deny": ["[ev]vil.com"]}, "evil.com", True),
        # "The case-insensitive glob expressions"
        ({"allow": ["*"], "deny": ["EVIL.com"]}, "evil.com", False),
        # 4., 5. "If the server name matches an entry in the allow list, allow. Otherwise, deny."
        ({"allow": ["good.com"]}, "good.com", True),
        ({"allow": ["good.com"]}, "other.com", False),
        ({"deny": ["evil.com"]}, "good.com", False),
        ({}, "good.com", False),
        ({"allow": "*"}, "good.com", False),
        ({"allow": [1, None, "*"], "deny": {"evil.com": 1}}, "evil.com", True),
    ],
)
def test_the_steps(content: dict[str, object], server: str, allowed: bool) -> None:
    assert ServerAcl(content).allows(ServerName(server)) is allowed  # type: ignore[arg-type]


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=9))
def test_globs_are_those_of_file_names(glob: str, text: str) -> None:
    assert bool(re.match(glob_expression(glob), text, re.DOTALL)) is fnmatch.fnmatchcase(text, glob)


def test_many_stars_do_not_take_for_ever() -> None:
    """Without the atomic groups this would not end."""
    assert re.match(glob_expression("*a" * 100 + "b"), "a" * 255, re.DOTALL) is None
