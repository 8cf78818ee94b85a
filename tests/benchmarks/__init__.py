"""The benchmark: `make bench`. See docs/performance.md."""
