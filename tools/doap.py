"""docs/tripoint.doap: what of XMPP this server supports, as other programs read it; made from docs/specs.toml.

spec: XEP-0453 4
"""

import tomllib
from xml.sax.saxutils import escape, quoteattr

from tools.source import ROOT
from tools.specs_index import Entry, Index

_STATUS = {"done": "complete", "partial": "partial", "planned": "planned"}
_HEAD = """\
<?xml version='1.0' encoding='UTF-8'?>
<!-- Made from docs/specs.toml by `make docs`. -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project xml:lang='en'>
"""
_TAIL = """\
  </Project>
</rdf:RDF>
"""


def doap(index: Index) -> str:
    """The whole file: the project, the RFCs that its XMPP follows, its extensions with how far they are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    description = escape(str(project["description"]))
    lines = [
        "    <name>tripoint</name>",
        f"    <shortdesc>{description}</shortdesc>",
        "    <license rdf:resource='https://spdx.org/licenses/Apache-2.0.html'/>",
        "    <programming-language>Python</programming-language>",
        "    <os>Linux</os>",
        "    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>",
    ]
    for rfc in index["rfc"].values():
        if rfc.there and any(path.startswith("xmpp/") for path in rfc.code):
            lines.append(f"    <implements rdf:resource='https://www.rfc-editor.org/info/{rfc.key.lower()}'/>")
    for xep in index["xep"].values():
        if xep.state in _STATUS:
            lines += _supported(xep)
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _supported(xep: Entry) -> list[str]:
    url = quoteattr(f"https://xmpp.org/extensions/{xep.key.lower()}.html")
    note = [f"        <xmpp:note>{escape(xep.note)}</xmpp:note>"] if xep.note else []
    return [
        "    <implements>",
        "      <xmpp:SupportedXep>",
        f"        <xmpp:xep rdf:resource={url}/>",
        f"        <xmpp:status>{_STATUS[xep.state]}</xmpp:status>",
        *note,
        "      </xmpp:SupportedXep>",
        "    </implements>",
    ]
