"""What viewers see of this server in a browser: a page for each channel, and the list of channels."""
