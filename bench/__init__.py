"""The benchmark: this server against its peers in one run, on one machine. `make bench`; docs/performance.md."""
