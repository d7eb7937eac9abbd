"""The two stories, each to be read top to bottom."""
