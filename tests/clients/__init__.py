"""Tests that need Node: `make clients` runs them."""
