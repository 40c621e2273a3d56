"""The networks that application services reach: what each is called and searched by, and who and what is found there.

Every service that has a protocol is asked at the same time, and what comes in time is put together: a service that does
not answer takes its own networks away, and nobody else's. What a service says of its protocol is kept for a while.
spec: Matrix application-service-api "Third-party networks"; client-server module third-party-networks
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import structlog

from tripoint.core.app_services import AppServices
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.matrix.appservice.link import ServiceLink

log = structlog.get_logger()

# People wait for it while they type.
TIMEOUT_S: Final = 5.0
KEPT_S: Final = 3600.0
FAILED_S: Final = 60.0
# Of one answer that is passed on.
MAX_FOUND: Final = 1000
_FIELDS: Final = ("user_fields", "location_fields")


def instance_id(service_id: str, network_id: str) -> str:
    """How clients name a network of a service (third_party_instance_id)."""
    return f"{service_id}|{network_id}"


class Networks:
    """`links` are those of the services that are reached; `clock_s` is monotonic."""

    def __init__(
        self, services: AppServices, links: dict[str, ServiceLink], clock_s: Callable[[], float]
    ) -> None:
        self._links = links
        self._clock_s = clock_s
        # Protocol -> the services that have it, in the order of the configuration.
        self._having: dict[str, list[ServiceLink]] = {}
        for service in services.all:
            for protocol in service.protocols if service.service_id in links else ():
                self._having.setdefault(protocol, []).append(links[service.service_id])
        # (protocol, service) -> until when that is what it says of itself; None: nothing that can be used.
        self._known: dict[tuple[str, str], tuple[float, JsonObject | None]] = {}

    async def protocols(self) -> dict[str, JsonObject]:
        """Everything of which something is known."""
        names = list(self._having)
        found = await asyncio.gather(*[self.protocol(name) for name in names])
        return {name: about for name, about in zip(names, found, strict=True) if about is not None}

    async def protocol(self, name: str) -> JsonObject | None:
        """What services say of a protocol, their instances together; None: nobody has it, or answers."""
        links = self._having.get(name, ())
        told = await asyncio.gather(*[self._about(name, link) for link in links])
        merged: JsonObject | None = None
        instances: list[Json] = []
        for link, about in zip(links, told, strict=True):
            if about is not None:
                merged = about if merged is None else merged
                instances += _instances(link.service.service_id, about)
        return None if merged is None else {**merged, "instances": instances}

    async def _about(self, name: str, link: ServiceLink) -> JsonObject | None:
        key = name, link.service.service_id
        until_s, about = self._known.get(key, (0.0, None))
        if until_s > self._clock_s():
            return about
        answer = await self._look_up(link, f"/thirdparty/protocol/{_segment(name)}", [])
        about = answer if isinstance(answer, dict) and _is_protocol(answer) else None
        self._known[key] = self._clock_s() + (FAILED_S if about is None else KEPT_S), about
        return about

    def has(self, protocol: str) -> bool:
        return protocol in self._having

    async def search(self, kind: str, protocol: str, fields: list[tuple[str, str]]) -> list[Json]:
        """Users or locations of a network. `kind`: user or location."""
        path = f"/thirdparty/{kind}/{_segment(protocol)}"
        return await self._together(kind, self._having.get(protocol, ()), path, fields)

    async def of(self, kind: str, named: tuple[str, str]) -> list[Json]:
        """What a user or a room name here stands for. `named`: the parameter that says which, and its value."""
        links = [link for link in self._links.values() if link.service.protocols]
        return await self._together(kind, links, f"/thirdparty/{kind}", [named])

    async def _together(
        self, kind: str, links: Sequence[ServiceLink], path: str, fields: list[tuple[str, str]]
    ) -> list[Json]:
        answers = await asyncio.gather(*[self._look_up(link, path, fields) for link in links])
        wanted = "userid" if kind == "user" else "alias"
        found = [one for answer in answers if isinstance(answer, list) for one in answer[:MAX_FOUND]]
        return [one for one in found if isinstance(one, dict) and _is_found(one, wanted)]

    async def _look_up(self, link: ServiceLink, path: str, fields: list[tuple[str, str]]) -> Json:
        try:
            return await link.look_up(path, fields, TIMEOUT_S)
        except RemoteFailed as failed:
            log.info("appservice.no_lookup", service=link.service.service_id, reason=failed.reason)
            return None


def _segment(name: str) -> str:
    return quote(name, safe="")


def _is_protocol(about: JsonObject) -> bool:
    """spec: definitions/protocol.yaml: what is required"""
    lists = all(isinstance(about.get(name), list) for name in _FIELDS)
    return lists and isinstance(about.get("instances"), list) and isinstance(about.get("field_types"), dict)


def _instances(service_id: str, about: JsonObject) -> list[Json]:
    """spec: client-server protocol_instance: each with an instance_id that this server made"""
    found: list[Json] = []
    for one in list_at(about, "instances"):
        network_id = text_at(one, "network_id") if isinstance(one, dict) else None
        if isinstance(one, dict) and network_id is not None:
            found.append({**one, "instance_id": instance_id(service_id, network_id)})
    return found


def _is_found(one: JsonObject, wanted: str) -> bool:
    has_texts = text_at(one, wanted) is not None and text_at(one, "protocol") is not None
    return has_texts and object_at(one, "fields") is one.get("fields")
