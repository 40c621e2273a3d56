"""OAuth 2.0 and the pages of accounts."""
