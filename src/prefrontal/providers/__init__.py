"""Wires: how each kind of engine is spoken to. Translators and data only; nothing here sends a byte."""
