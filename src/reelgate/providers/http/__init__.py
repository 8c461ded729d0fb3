"""What the upstreams that are asked over HTTP share."""
