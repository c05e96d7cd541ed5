"""The agent: a core that decides, and a runtime that does."""
