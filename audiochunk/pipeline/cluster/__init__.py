"""Workers that may be other machines: what they must see, how a late one does no harm, and Dask's."""
