"""Decides: path, model, effort, fallbacks. Pure functions of a snapshot; every plan says why."""
