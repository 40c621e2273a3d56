"""Endpoints of the client-server API: one module a family, one class a module."""
