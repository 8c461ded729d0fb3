"""The sandbox upstream: renders a real MP4 on this machine, marked as what it is."""
