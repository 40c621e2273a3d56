"""Checks and generators of this repository, called by `make check`, `make docs`, `make fuzz`.

Each module is a program (`python -m tools.NAME`) around a function that tests/project calls too. Programs print
one line per finding, `file:line: what is wrong`, and end with status 1 if there was one.
"""
