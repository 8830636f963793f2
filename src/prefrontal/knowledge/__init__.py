"""Engrams: files of any kind made searchable, citable, and given back bit for bit.

An engram is one SQLite file. `ingest` fills it, `search` finds passages in it, `context` makes cited evidence of them, and
`extract` gives the files back. Needs the extra `knowledge`; nothing here is imported before it is used.
"""
