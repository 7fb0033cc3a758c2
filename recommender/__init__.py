"""What decides: learning, retrieval, filtering, ranking and explanation. Talks to the world through ports only."""
