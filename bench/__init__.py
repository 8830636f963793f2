"""Measurements of speed and size. ``python -m bench --help`` tells what there is."""
