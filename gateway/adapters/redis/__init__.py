"""Adapters over Redis or Valkey: the event log of production."""
