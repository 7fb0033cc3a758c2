"""Adapters over Parquet files: the archive of old events."""
