"""Where weights lie."""
