"""The search-space audit: edges, coverage, what divergence cost, inclusions."""
