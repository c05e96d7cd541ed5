"""How the machine's owner looks in, over a local socket."""
