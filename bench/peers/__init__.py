"""Small honest servers of our own writing, which answer the same bodies: what the server is measured against."""
