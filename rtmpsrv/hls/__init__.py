"""HLS of channels: made while somebody asks, from what they send, and served from memory."""
