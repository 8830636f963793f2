"""Finds models that no file names: servers on this machine, keys in the environment, GGUF files in the models folder."""
