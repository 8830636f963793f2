"""What is being asked: task type, complexity and needs, each told by rules a person can read. Pure."""
