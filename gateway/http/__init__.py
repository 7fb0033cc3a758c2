"""HTTP: the app, its endpoints, and who is let in."""
