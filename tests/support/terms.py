"""Documents that have to be accepted, for tests of every protocol. The first is the specification's example."""

from tripoint.config.options import TermsDocument, TermsText

TERMS = (
    TermsDocument(
        "terms_of_service",
        "1.2",
        (
            TermsText("en", "Terms of Service", "https://example.org/somewhere/terms-1.2-en.html"),
            TermsText("fr", "Conditions d'utilisation", "https://example.org/somewhere/terms-1.2-fr.html"),
        ),
    ),
    TermsDocument("privacy", "3", (TermsText("en", "Privacy <policy>", "https://example.org/privacy.html"),)),
)
NEWER = (TermsDocument("terms_of_service", "1.3", TERMS[0].text), TERMS[1])
ACCEPTED = {"terms_of_service": "1.2", "privacy": "3"}
