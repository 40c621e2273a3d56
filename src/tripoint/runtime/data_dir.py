"""The data folder: the lock, this server's keys and secret, its certificate.

One server at a time uses a folder; the lock goes with the process, so a killed server leaves nothing to clean.
"""

import fcntl
import os
import secrets
from pathlib import Path

from tripoint.config.options import Config
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey
from tripoint.net.tls import ServerTls, make_self_signed, write_secret


class DataDirError(Exception):
    """The folder cannot be used; the text says why and what to do."""


class DataDir:
    """An opened and locked data folder. Raises DataDirError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirError(f"{path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DataDirError(f"{path} is in use by another tripoint; stop that one first") from error

    def close(self) -> None:
        os.close(self._lock)

    @property
    def database(self) -> Path:
        return self.path / "tripoint.db"

    def check_server_name(self, server: ServerName) -> None:
        """The name is in every event: refuse to start under another one."""
        path = self.path / "server_name"
        if not path.exists():
            path.write_text(f"{server}\n", "utf-8")
            return
        before = path.read_text("utf-8").strip()
        if before != server:
            raise DataDirError(
                f"This data folder belongs to the server {before}, and the configuration says {server}. A server's "
                f"name is part of every room and cannot change: set server.name to {before}, or use another data_dir"
            )

    def signing_key(self) -> SigningKey:
        """This server's key, made at the first start."""
        path = self.path / "signing.key"
        if not path.exists():
            key = SigningKey(f"ed25519:a{secrets.token_hex(3)}", secrets.token_bytes(32))
            write_secret(path, key.to_text().encode() + b"\n")
        return SigningKey.from_text(path.read_text("ascii").strip())

    def secret(self) -> bytes:
        """32 bytes of this server's own: fake salts, occupant ids, guests' hosts."""
        path = self.path / "secret"
        if not path.exists():
            write_secret(path, secrets.token_bytes(32))
        return path.read_bytes()

    def tls(self, config: Config) -> ServerTls:
        """The configured certificate, or one that the server makes for itself."""
        if config.tls.certificate:
            return ServerTls(Path(config.tls.certificate), Path(config.tls.key))
        certificate, key = self.path / "self-made.crt", self.path / "self-made.key"
        if not certificate.exists() or not key.exists():
            name = config.server.name.split(":")[0]
            make_self_signed([name, f"rooms.{name}"], certificate, key)
        return ServerTls(certificate, key)
