"""The inverted index over dimensions, beside the engram: derived, append-only, and made again whenever it is missing or stale."""
