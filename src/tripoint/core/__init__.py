"""The pure core: identifiers, signed events, authorisation rules, state resolution, standing, text.

Imports nothing of tripoint outside this package, and no asyncio, socket, time, random or logging: what it
needs comes in as arguments. Start with event.py, then auth_rules/; docs/glossary.md has the words.
"""
