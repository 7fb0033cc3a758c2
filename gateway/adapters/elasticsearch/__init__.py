"""Elasticsearch 9 as catalogue: docs/decisions/0007-elasticsearch-catalogue.md says why it is so."""
