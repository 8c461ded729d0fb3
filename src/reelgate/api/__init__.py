"""HTTP for programs: routes, authentication, JSON and forms in, JSON out."""
