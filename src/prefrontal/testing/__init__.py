"""What users of the package need for their own tests: scripted upstreams, tiny models, fake clocks, contract suites."""
