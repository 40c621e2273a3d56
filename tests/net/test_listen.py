"""A port that is taken is named: whoever starts a server has to know which of six it is."""

import errno

import pytest

from tripoint.net.listen import bind


def test_the_address_is_in_the_text() -> None:
    first = bind("127.0.0.1", 0)
    first.listen()
    port = first.getsockname()[1]
    with first, pytest.raises(OSError, match=f"127.0.0.1 port {port}: ") as caught:
        bind("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE
