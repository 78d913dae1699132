"""The client beside its published version and a bare pooled `requests.Session`."""
