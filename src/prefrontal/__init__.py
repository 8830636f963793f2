"""Prefrontal: a self-hosted executive for language models."""
