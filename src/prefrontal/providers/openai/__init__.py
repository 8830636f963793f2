"""The OpenAI wire: chat completions, legacy completions and embeddings, for clients and for upstreams."""
