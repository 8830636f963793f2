"""The vocabulary: blocks, messages, requests, answers, usage. Structs without behaviour that touches the world."""
