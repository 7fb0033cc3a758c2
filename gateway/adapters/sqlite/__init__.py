"""The embedded engine: one SQLite file per store, nothing to install."""
