"""One folder per engine; each translates between it and the recommender's ports, and nothing else."""
