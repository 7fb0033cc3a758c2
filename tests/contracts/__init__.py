"""One suite per port; every adapter passes it against the real thing."""
