"""Every test. The name of a test is its claim."""
