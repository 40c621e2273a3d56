"""Data forms as clients submit them. Pure.  spec: XEP-0004 3.2, XEP-0068 4"""

from collections.abc import Mapping

from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import DATA_FORMS_NS
from tripoint.xmpp.wire import Element

FORM_TYPE = "FORM_TYPE"


def form_fields(form: Element) -> dict[str, list[str]]:
    """The values of a submitted data form, by variable."""
    fields: dict[str, list[str]] = {}
    for child in form.elements():
        name = child.get("var")
        if child.name == "field" and child.namespace == DATA_FORMS_NS and name:
            fields[name] = [value.text for value in child.elements() if value.name == "value"]
    return fields


def submitted(form: Element | None, form_type: str) -> dict[str, list[str]]:
    """The values of a form of this type that was filled in; Problem(bad-request) for another one, or none.

    A form that does not say of which type it is is the one that was asked for: clients that know the form leave that
    out. Fields that nobody knows are kept out by who reads. spec: XEP-0068 4.1, 4.3
    """
    if form is None or form.get("type") != "submit":
        raise Problem("bad-request", "A form of type submit is expected")
    fields = form_fields(form)
    if fields.pop(FORM_TYPE, [form_type]) != [form_type]:
        raise Problem("bad-request", f"The form is not of the type {form_type}")
    return fields


def single(fields: Mapping[str, list[str]], var: str) -> str | None:
    """What a field says that has one value; None where it is not there, or says nothing at all.

    Problem(not-acceptable) for several values. spec: XEP-0004 3.2, 3.6, 4
    """
    values = fields.get(var, ())
    if len(values) > 1:
        raise Problem("not-acceptable", f"{var} has one value")
    return values[0] if values else None


def boolean(fields: Mapping[str, list[str]], var: str) -> bool | None:
    """What a field of type boolean says; None where it is not there. Problem(not-acceptable) for what is neither.

    spec: XEP-0004 3.3, 4
    """
    value = single(fields, var)
    if value is None:
        return None
    if value.strip() not in ("0", "1", "false", "true"):
        raise Problem("not-acceptable", f"{var} is true or false")
    return value.strip() in ("1", "true")
