"""From a folder of recordings to a dataset: scan, plan, build shards, seal."""
