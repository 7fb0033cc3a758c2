"""What decides, without a server or a file."""
