"""Workers that may be other machines: how a late one does no harm, and Dask's."""
