"""The supervised local engine: llama.cpp as one child process a model."""
