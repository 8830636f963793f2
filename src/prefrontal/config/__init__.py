"""Configuration: one typed tree, loaded from file, environment and flags, reloaded while serving."""
