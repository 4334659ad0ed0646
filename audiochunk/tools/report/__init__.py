"""A dataset as one HTML page to look at and listen to, or as a picture."""
