"""What talks: HTTP, GraphQL, files, commands and the adapters behind the recommender's ports."""
