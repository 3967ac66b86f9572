"""The parts of scripts/build_image: the image made by buildah, run in namespaces of its own, tried."""
