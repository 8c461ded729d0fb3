"""The composition root: settings become the parts of a gateway, an ASGI app and a worker."""
