"""Configuration: typed options, read from one TOML file, explained by themselves.

options.py has every option with its help; load.py reads and checks; example.py writes the example file.
"""
