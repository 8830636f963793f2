"""Answers kept to be given again, and calls shared by equal requests."""
