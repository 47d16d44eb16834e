"""What fills a hole, without PyTorch: the network in the box by ONNX Runtime, classical fillers, texture, tiles, memory."""
