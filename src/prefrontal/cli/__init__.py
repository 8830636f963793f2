"""The `prefrontal` command: a thin layer over the library and the HTTP API.

`app` declares commands and options and is all that ``--help`` loads; each command imports what it needs when it runs.
"""
