"""Effects: connections, engines, retries, breakers, queues. Carries out a plan and writes down what happened."""
