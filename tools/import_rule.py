"""Who may import whom: the stations of a message, one way (ARCHITECTURE.md).

core <- store.interface, bus.interface <- rooms, accounts, media <- fanout, net <- irc | xmpp | matrix | oauth <-
runtime, cli.
Front ends never import each other and never name the store. What a part may import is listed whole, so a new part
has to be written down here before it can be imported.
"""

from tools.source import ROOT, SRC, imports_of, module_name, python_files, report

STORE_DOOR = (
    *("store.interface", "store.writes", "store.device_store", "store.device_writes", "store.stream"),
    *("store.admin_store", "store.app_service_store"),
    *("store.oauth_store", "store.oauth_writes"),
    *("store.contact_store", "store.contact_writes", "store.preview_store"),
    "bus.interface",
)
MIDDLE = ("core", "rooms", "accounts", "media", "fanout", "net")
ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "store": ("core",),
    "bus": ("core",),
    "config": ("core",),
    "net": ("core",),
    "observe": ("core", "net"),
    "rooms": ("core", *STORE_DOOR),
    # accounts tell of themselves in the same values as rooms do, and need nothing else of them
    "accounts": ("core", *STORE_DOOR, "rooms.changes"),
    "media": ("core", "net", *STORE_DOOR, "accounts"),
    "fanout": ("core", *STORE_DOOR, "rooms", "accounts"),
    "irc": MIDDLE,
    "xmpp": MIDDLE,
    "matrix": MIDDLE,
    # the pages of accounts, for people of every protocol
    "oauth": MIDDLE,
    "runtime": (*MIDDLE, "store", "bus", "config", "observe", "irc", "xmpp", "matrix", "oauth"),
    "cli": (*MIDDLE, "store", "bus", "config", "observe", "runtime"),
    "__main__": ("cli",),
}


def check_imports(module: str, source: str) -> list[tuple[int, str]]:
    """(line, what is wrong) of every import in one module of tripoint that points the wrong way."""
    part = module.split(".")[1] if "." in module else ""
    wrong = []
    for found in imports_of(source):
        if found.module.startswith("."):
            wrong.append((found.line, "relative import: write the whole name"))
        if not found.module.startswith("tripoint."):
            continue
        target = found.module.removeprefix("tripoint.")
        if target.split(".")[0] in (part, "__version__") or not part:
            continue
        allowed = ALLOWED.get(part)
        if allowed is None:
            wrong.append((found.line, f"{part} is not in tools/import_rule.py yet"))
        elif not any(f"{target}.".startswith(f"{one}.") for one in allowed) and not _is_parent(target, allowed):
            wrong.append((found.line, f"{part} must not import {target}"))
    return wrong


def _is_parent(target: str, allowed: tuple[str, ...]) -> bool:
    """`from tripoint.store import interface` names tripoint.store on the way; the name after it is judged."""
    return any(one.startswith(f"{target}.") for one in allowed)


def findings() -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in python_files()
        for line, text in check_imports(module_name(path), path.read_text("utf-8"))
    ]


if __name__ == "__main__":
    report(findings(), f"imports in {SRC.name}")
