"""What the exchange is, without HTTP, clock or files: everything is passed in."""
