"""What lies behind a protocol; adapters translate and keep no policy."""
