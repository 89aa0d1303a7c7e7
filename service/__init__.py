"""The gRPC service: engine, sessions, server, client and command line.

Imported piece by piece (``ossicle.service.server``, ``ossicle.service.client``, ...), so that a
client does not load the recogniser and the recogniser does not load gRPC.
"""
