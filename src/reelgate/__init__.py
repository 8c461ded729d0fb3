"""Reelgate: one OpenAI-compatible API for AI video that an operator runs."""

__version__ = "0.1.0"
