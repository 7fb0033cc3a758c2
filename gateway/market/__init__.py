"""The demo market: a seeded, synthetic marketplace on real occupations. Its taste is hidden from `recommender/`."""
