"""What one asks of a dataset: values in, values out. Nothing here prints."""
