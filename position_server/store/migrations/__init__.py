"""The migrations of the store's tables, in order."""
