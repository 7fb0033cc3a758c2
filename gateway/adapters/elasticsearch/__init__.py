"""Elasticsearch 9 as catalogue: docs/decisions/0008-elasticsearch-catalogue.md says why it is so."""
