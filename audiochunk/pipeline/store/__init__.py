"""Recordings in an object store, and builds into one."""
