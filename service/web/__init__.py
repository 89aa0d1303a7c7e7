"""HTTP beside gRPC: the web page, the WebSocket bridge and OpenAI's transcription API."""
