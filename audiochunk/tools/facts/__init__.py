"""Facts about the chunks of a dataset that change a result: copies, leaks, missing bits, silence, clipping."""

from audiochunk.tools.facts.cache import cache_path, collect_cached
from audiochunk.tools.facts.facts import Facts
from audiochunk.tools.facts.stats import ALL
from audiochunk.tools.facts.survey import collect

__all__ = ["ALL", "Facts", "cache_path", "collect", "collect_cached"]
