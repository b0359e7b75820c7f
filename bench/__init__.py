"""Benchmarks: `make bench`. Every run has fresh homes, TLS 1.3 and records on disk."""
