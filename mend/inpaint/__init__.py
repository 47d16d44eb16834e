"""What fills a hole, without PyTorch: the network that comes with mend, classical fillers, texture, tiles, memory."""
