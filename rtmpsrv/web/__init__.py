"""The web process: the API, metrics, health and pages over HTTP. It serves no media and holds no streams."""
