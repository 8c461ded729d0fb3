"""Outgoing HTTP, in two trusts.

`client`: hosts that the operator configured. `guard`: hosts that somebody else named.
Both stand on `session` (how connections are made) and `stream` (how bytes are counted and timed).
"""
