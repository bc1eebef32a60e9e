"""ImageNet-size experiments: images are streamed from class folders and networks train under `torchrun`."""
