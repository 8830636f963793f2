"""The native Ollama wire, for clients and for upstreams."""
