"""A build as three commands: a plan, tasks of a job array, and a seal."""
