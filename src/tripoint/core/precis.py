"""PRECIS string classes and the two profiles that names and passwords here need; SASLprep beside them.

OpaqueString (passwords, XMPP resourceparts) and UsernameCaseMapped (XMPP localparts). The derived
property of a code point is computed from Python's Unicode data, so code points assigned after that
data was made count as unassigned.

Departure from RFC 8264 8: code points that Unicode keeps for emoji to come are symbols, assigned or not: people write
this year's, and others have to be able to talk to them.

Departure from RFC 5892 A.1: a zero-width non-joiner is allowed only after a virama; the second half
of its rule needs joining types, which Python does not carry.

spec: RFC8264 8, 9; RFC8265 3.3, 4.2; RFC5892 2.6, A.1-A.9; RFC5893 2; RFC4013.
Does not look at confusables (core.confusables). Read next: accounts/sasl.py, xmpp/jid.py.
"""

import stringprep
import unicodedata
from functools import lru_cache


class PrecisError(ValueError):
    """The string cannot be brought into the profile; the text names the rule that it breaks."""


_EXCEPTIONS_VALID = frozenset({0x00DF, 0x03C2, 0x06FD, 0x06FE, 0x0F0B, 0x3007})
_EXCEPTIONS_DISALLOWED = frozenset({0x0640, 0x07FA, 0x302E, 0x302F, *range(0x3031, 0x3036), 0x303B})
_CONTEXT_RULED = frozenset(
    {0x00B7, 0x0375, 0x05F3, 0x05F4, 0x30FB, *range(0x0660, 0x066A), *range(0x06F0, 0x06FA), 0x200C, 0x200D}
)
_OLD_HANGUL_JAMO = ((0x1100, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7C6), (0xD7CB, 0xD7FB))
# Unicode DerivedCoreProperties.txt, Default_Ignorable_Code_Point.
_DEFAULT_IGNORABLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
# Unicode emoji-data.txt, Extended_Pictographic: the blocks in which all that is not assigned yet will be a pictograph.
_EMOJI_TO_COME = ((0x1F000, 0x1FAFF), (0x1FC00, 0x1FFFD))
_LETTER_DIGITS = frozenset({"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"})
_FREEFORM_ONLY = frozenset(
    {"Lt", "Nl", "No", "Me", "Zs", "Sm", "Sc", "Sk", "So", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}
)
_VIRAMA = 9  # canonical combining class


def _in(cp: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= cp <= high for low, high in ranges)


@lru_cache(maxsize=4096)
def _derived(char: str) -> str:
    """PVALID, FREE_PVAL, CONTEXT or DISALLOWED. spec: RFC8264 8 (the order of the tests is normative)."""
    cp = ord(char)
    category = unicodedata.category(char)
    if cp in _EXCEPTIONS_VALID:
        return "PVALID"
    if cp in _EXCEPTIONS_DISALLOWED:
        return "DISALLOWED"
    if cp in _CONTEXT_RULED:
        return "CONTEXT"
    if category == "Cn":
        return "FREE_PVAL" if _in(cp, _EMOJI_TO_COME) else "DISALLOWED"
    if 0x21 <= cp <= 0x7E:
        return "PVALID"
    if _in(cp, _OLD_HANGUL_JAMO) or _in(cp, _DEFAULT_IGNORABLE) or category == "Cc":
        return "DISALLOWED"
    if unicodedata.normalize("NFKC", char) != char:
        return "FREE_PVAL"
    if category in _LETTER_DIGITS:
        return "PVALID"
    return "FREE_PVAL" if category in _FREEFORM_ONLY else "DISALLOWED"


def _script_is(char: str, *scripts: str) -> bool:
    return unicodedata.name(char, "").startswith(scripts)


def _context_allows(text: str, at: int) -> bool:
    """spec: RFC5892 appendix A, one rule per code point."""
    cp = ord(text[at])
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if cp in (0x200C, 0x200D):
        return bool(before) and unicodedata.combining(before) == _VIRAMA
    if cp == 0x00B7:
        return before == "l" and after == "l"
    if cp == 0x0375:
        return bool(after) and _script_is(after, "GREEK")
    if cp in (0x05F3, 0x05F4):
        return bool(before) and _script_is(before, "HEBREW")
    if cp == 0x30FB:
        return any(_script_is(c, "HIRAGANA", "KATAKANA LETTER", "CJK UNIFIED", "CJK COMPAT") for c in text)
    if 0x0660 <= cp <= 0x0669:
        return not any("\u06f0" <= c <= "\u06f9" for c in text)
    return not any("\u0660" <= c <= "\u0669" for c in text)


def is_freeform_char(char: str) -> bool:
    """Whether this code point alone may stand in a FreeformClass string (no context rule applied)."""
    return _derived(char) in ("PVALID", "FREE_PVAL")


def _check_class(text: str, *, freeform: bool) -> None:
    for at, char in enumerate(text):
        derived = _derived(char)
        if derived == "PVALID" or (derived == "FREE_PVAL" and freeform):
            continue
        if derived == "CONTEXT" and _context_allows(text, at):
            continue
        raise PrecisError(f"the character U+{ord(char):04X} is not allowed here")


def prepare_opaque(text: str) -> str:
    """The OpaqueString form of `text` (case kept, spaces to U+0020, NFC). spec: RFC8265 4.2.2.

    Raises PrecisError for an empty string or a code point outside the FreeformClass.
    """
    if text.isascii():
        if not text or not text.isprintable():
            raise PrecisError("the string is empty or holds control characters")
        return text
    _check_class(text, freeform=True)
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
    return unicodedata.normalize("NFC", spaced)


def without_invisible(text: str) -> str:
    """`text` without what stringprep maps to nothing: joiners, variation selectors, soft hyphens. spec: RFC3454 B.1"""
    return "".join([char for char in text if not stringprep.in_table_b1(char)])


def prepare_username(text: str) -> str:
    """The UsernameCaseMapped form of `text` (lower case, NFC). spec: RFC8265 3.3.

    Raises PrecisError for an empty string, a code point outside the IdentifierClass or a broken
    right-to-left order.
    """
    if not text.isascii():
        text = "".join(_map_width(char) for char in text)
    _check_class(text, freeform=False)
    mapped = unicodedata.normalize("NFC", text.lower())
    if not mapped:
        raise PrecisError("the name is empty")
    _check_class(mapped, freeform=False)
    check_bidi(mapped)
    return mapped


def _map_width(char: str) -> str:
    if unicodedata.east_asian_width(char) in ("F", "H"):
        decomposition = unicodedata.decomposition(char).split()
        if decomposition and decomposition[0] in ("<wide>", "<narrow>"):
            return "".join(chr(int(part, 16)) for part in decomposition[1:])
    return char


def check_bidi(text: str) -> None:
    """Raise PrecisError unless `text` keeps the Bidi Rule; strings without right-to-left letters do.

    spec: RFC5893 2, conditions 1-6
    """
    if text.isascii():
        return
    classes = [unicodedata.bidirectional(char) for char in text]
    if not any(kind in ("R", "AL", "AN") for kind in classes):
        return
    trimmed = list(classes)
    while trimmed and trimmed[-1] == "NSM":
        trimmed.pop()
    if classes[0] in ("R", "AL"):
        allowed = {"R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}
        last = {"R", "AL", "EN", "AN"}
        if "EN" in classes and "AN" in classes:
            raise PrecisError("European and Arabic digits are mixed in a right-to-left name")
    elif classes[0] == "L":
        allowed = {"L", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}
        last = {"L", "EN"}
    else:
        raise PrecisError("a name with right-to-left letters must begin with a letter")
    if not set(classes) <= allowed or not trimmed or trimmed[-1] not in last:
        raise PrecisError("left-to-right and right-to-left letters are mixed")


def prepare_saslprep(text: str) -> str:
    """The SASLprep form of a stored string: unassigned code points (Unicode 3.2) are refused.

    Raises PrecisError. spec: RFC4013 2, RFC3454 4-7 (tables of Python's stringprep)
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    mapped = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in mapped:
        if stringprep.in_table_a1(char):
            raise PrecisError(f"the character U+{ord(char):04X} is too new for SASLprep")
        if any(table(char) for table in _SASL_PROHIBITED):
            raise PrecisError(f"the character U+{ord(char):04X} is not allowed here")
    if any(map(stringprep.in_table_d1, mapped)):
        # spec: RFC3454 6: no left-to-right letter inside, a right-to-left one at both ends
        ends_right = stringprep.in_table_d1(mapped[0]) and stringprep.in_table_d1(mapped[-1])
        if any(map(stringprep.in_table_d2, mapped)) or not ends_right:
            raise PrecisError("left-to-right and right-to-left letters are mixed")
    return mapped


_SASL_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def is_resourceprep_stable(text: str) -> bool:
    """Whether Resourceprep, which older XMPP clients apply, takes `text` and leaves it as it is.

    Code points that are newer than Unicode 3.2 pass: those clients leave them alone. spec: RFC3920 B
    """
    if text.isascii():
        return text.isprintable()
    if any(stringprep.in_table_b1(char) for char in text):
        return False
    if unicodedata.normalize("NFKC", text) != text:
        return False
    if any(table(char) for char in text for table in _SASL_PROHIBITED):
        return False
    if any(map(stringprep.in_table_d1, text)):
        ends_right = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        return ends_right and not any(map(stringprep.in_table_d2, text))
    return True
