"""A world to try the agent in, on loopback; for development only."""
