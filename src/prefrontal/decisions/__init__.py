"""Typed decisions: questions with a known set of answers, asked of any engine, with a rule behind each that cannot fail."""
