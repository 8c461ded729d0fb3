"""The verbs of the product. The only layer that opens a write transaction."""
