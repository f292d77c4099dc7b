"""Experiments that show the claims of the literature with this code; one command each, results in docs/networks.md."""
