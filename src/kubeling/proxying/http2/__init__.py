"""HTTP/2 for a proxy, over h2: connections either way round, and those kept to servers."""
