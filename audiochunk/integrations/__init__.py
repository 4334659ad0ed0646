"""Other people's code that takes our chunks: thin modules, each imported only by those who use it."""
