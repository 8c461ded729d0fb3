"""Upstreams that are not there: real sockets, scripted answers, every submit counted."""
