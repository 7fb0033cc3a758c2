"""The model store as a directory: one folder per version, one pointer to the one that serves."""
