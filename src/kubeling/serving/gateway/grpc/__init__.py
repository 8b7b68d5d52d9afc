"""gRPC through the inference gateway: any service's calls, passed on stream by stream."""
