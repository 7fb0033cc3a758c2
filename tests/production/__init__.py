"""The production stack: gateway replicas over a real Elasticsearch and a real Redis."""
