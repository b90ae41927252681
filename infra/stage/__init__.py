"""The stage commands: what `make stage1 up` and its siblings run, on the host, over the Docker and Compose clients."""
