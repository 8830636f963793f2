"""The Gemini generateContent wire, for clients and for upstreams."""
