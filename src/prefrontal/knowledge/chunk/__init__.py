"""Cutting files into passages: by heading and paragraph, by function and class, by rows. Chunks tile a file exactly."""
