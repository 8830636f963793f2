"""HTTP: the OpenAI dialect, status, metrics. Thin over the library; the hot routes are plain ASGI."""
