"""Adapters that keep everything in the process: the cache of a single server."""
