"""What stands between the recommender and its dependencies, which may fail."""
