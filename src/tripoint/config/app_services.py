"""Reading the registration files of application services, which the configuration names. YAML, as bridges write them.

spec: Matrix application-service-api "Registration"; what is in a file is core/app_services.py's
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tripoint.core.app_services import NO_SERVICES, AppService, AppServices, BadRegistration, read_registration
from tripoint.core.ids import RESERVED_ACCOUNT_NAMES, ServerName, split_user_id
from tripoint.core.notices import notices_user

# A registration has some hundred bytes; a bridge with many namespaces some thousand.
MAX_BYTES: Final = 262_144


class BadFile(Exception):
    """A file that cannot be used. The text names it, and says why."""


def load_app_services(paths: Sequence[str], server: ServerName) -> AppServices:
    """The services of these files. Raises BadFile for the first that cannot be used, alone or beside the others."""
    if not paths:
        return NO_SERVICES
    found: list[AppService] = []
    for path in paths:
        service = _read(Path(path), server)
        try:
            AppServices([*found, service])
        except BadRegistration as error:
            raise BadFile(f"{path}: {error}") from error
        found.append(service)
    return AppServices(found)


def _read(path: Path, server: ServerName) -> AppService:
    import yaml  # a server without application services does not need it

    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise BadFile(f"{path} is larger than any registration")
    try:
        service = read_registration(yaml.safe_load(text), server)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        # Where it is, and not what stands there: a file has secrets in it.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise BadFile(f"{path} is not YAML{where}") from error
    except BadRegistration as error:
        raise BadFile(f"{path}: {error}") from error
    name = split_user_id(service.sender)[0]
    if name in RESERVED_ACCOUNT_NAMES or service.sender == notices_user(server) or name.startswith("guest-"):
        raise BadFile(f"{path}: sender_localpart {name} is a name that the server keeps for itself")
    return service
