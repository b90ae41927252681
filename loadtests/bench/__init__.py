"""Requests per CPU-second of the app, beside the floor of the same queries without it."""
