"""OAuth 2.0 over the accounts: clients, codes, device authorisation, who is logged in on the pages.

Imports core and the store's door as accounts do. Start at service.py. The rules are core/oauth, the endpoints and pages
the package oauth.
"""
