"""Tests that need Node and Chromium: `make browser` runs them."""
