"""Files of a marketplace's own: what comes in by `tandem import` and goes out by `tandem export`."""
