"""Lenses: a small model reads a request before a large one is chosen, and a formula stands behind it that cannot fail."""
