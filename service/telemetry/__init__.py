"""Seeing inside a server: metrics, logs, traces, and the names of calls."""
