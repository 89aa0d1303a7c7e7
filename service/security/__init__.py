"""Who may call a server, and that nobody listens: TLS, tokens, and the limits of each client."""
