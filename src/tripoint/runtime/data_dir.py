"""The data folder: the lock, this server's keys and secret, its certificate.

One server at a time uses a folder; the lock goes with the process, so a killed server leaves nothing to clean.
"""

import fcntl
import ipaddress
import os
import secrets
from pathlib import Path

from tripoint.config.options import Config
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.core.signing import SigningKey, decode_base64
from tripoint.matrix.keys.document import OldKey
from tripoint.net.resolver import split_server_name
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

    @property
    def search_index(self) -> Path:
        """Made from the database, and made again if it is not there."""
        return self.path / "search.db"

    @property
    def media(self) -> Path:
        return self.path / "media"

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

    def old_keys(self) -> list[OldKey]:
        """Keys that this server signed with before, newest last. Raises DataDirError for a file that is none."""
        path = self.path / "old_signing_keys"
        if not path.exists():
            return []
        current = self.signing_key().key_id
        found = []
        for line in path.read_text("ascii").splitlines():
            parts = line.split()
            if len(parts) != 3 or not parts[2].isdigit() or not _is_key(parts[1]):
                raise DataDirError(f"{path}: a line is KEY_ID PUBLIC_KEY RETIRED_MS, and this is not: {line!r}")
            # A rotation that was cut short lists the key that is still in use.
            if parts[0] != current:
                found.append(OldKey(parts[0], parts[1], int(parts[2])))
        return found

    def rotate_signing_key(self, now_ms: int) -> SigningKey:
        """Make a new key; the one in use till now is kept, its public half, for what it signed."""
        old = self.signing_key()
        lines = [f"{one.key_id} {one.public_key} {one.expired_ts_ms}\n" for one in self.old_keys()]
        lines.append(f"{old.key_id} {old.verify_key_b64} {now_ms}\n")
        # First the old one: cut short here, nothing has changed.
        write_secret(self.path / "old_signing_keys", "".join(lines).encode())
        key = SigningKey(f"ed25519:a{secrets.token_hex(3)}", secrets.token_bytes(32))
        write_secret(self.path / "signing.key", key.to_text().encode() + b"\n")
        return key

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
            name, _ = split_server_name(parse_server_name(config.server.name))
            make_self_signed([name] if _is_ip(name) else [name, f"rooms.{name}"], certificate, key)
        return ServerTls(certificate, key)


def _is_key(text: str) -> bool:
    try:
        return len(decode_base64(text)) == 32
    except ValueError:
        return False


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
