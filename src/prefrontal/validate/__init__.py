"""Verdicts on answers: schema, format, tool calls, and validators of other packages. Pure."""
