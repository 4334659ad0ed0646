"""From a dataset on disk to chunks in memory. Knows nothing of how datasets are built."""
