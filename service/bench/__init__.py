"""Measuring a server under live streams."""
