"""The process that serves a mountpoint, and how to speak to it."""
