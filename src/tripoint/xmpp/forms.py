"""Data forms as clients submit them. Pure.  spec: XEP-0004 3.2"""

from tripoint.xmpp.tables import DATA_FORMS_NS
from tripoint.xmpp.wire import Element


def form_fields(form: Element) -> dict[str, list[str]]:
    """The values of a submitted data form, by variable."""
    fields: dict[str, list[str]] = {}
    for child in form.elements():
        name = child.get("var")
        if child.name == "field" and child.namespace == DATA_FORMS_NS and name:
            fields[name] = [value.text for value in child.elements() if value.name == "value"]
    return fields
