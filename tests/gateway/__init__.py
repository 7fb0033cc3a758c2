"""What talks: files, commands, GraphQL and HTTP."""
