"""Bytes: where they are kept, and what they are."""
