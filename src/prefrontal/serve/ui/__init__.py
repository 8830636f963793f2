"""Pages for people, made on the server: no script, nothing loaded from elsewhere, readable at the width of a telephone."""
