"""What a person looks at: tables and figures of a model and of what it has learned."""
