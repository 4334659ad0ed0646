"""Modules whose doctests need what is not installed are left out; a test of each says that it is skipped."""

from importlib.util import find_spec

_NEEDED = {"audiochunk/integrations/torch.py": "torch", "audiochunk/integrations/grain.py": "grain"}

collect_ignore = [path for path, package in _NEEDED.items() if find_spec(package) is None]
