"""The Anthropic Messages wire, for clients and for upstreams."""
