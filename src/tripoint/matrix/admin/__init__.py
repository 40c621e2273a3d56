"""The administrators' API, below /_synapse/admin: the paths, parameters and answers that moderation tools know.

No specification has it; Synapse made it, and tools such as Draupnir and synapse-admin speak it. What is of the Matrix
specification itself (lock, suspend, whois) is client/admin.py's. docs/operate/administration.md
"""
