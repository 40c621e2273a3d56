"""A certificate for the tests' server, made once for each file that wants one."""

import pytest

from tests.xmpp.server import SERVER
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ClientTls:
    folder = tmp_path_factory.mktemp("tls")
    make_self_signed([SERVER], folder / "cert.pem", folder / "key.pem")
    return ClientTls(ServerTls(folder / "cert.pem", folder / "key.pem"))
