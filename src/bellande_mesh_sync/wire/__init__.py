"""Bytes to messages and back: the only place that parses what a peer sent."""
