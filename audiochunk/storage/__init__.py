"""Bytes on disk: shards, the manifest, and files that are either whole or not there. Knows nothing of signals."""
