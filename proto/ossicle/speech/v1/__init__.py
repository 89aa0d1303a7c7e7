"""Version 1 of the gRPC contract: ``speech_pb2`` (messages) and ``speech_pb2_grpc`` (services)."""
