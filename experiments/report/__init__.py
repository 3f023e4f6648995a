"""Reports: a run, a sweep or a table as one HTML page that needs no network and no file beside it."""
