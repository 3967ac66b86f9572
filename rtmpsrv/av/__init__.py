"""FFmpeg's libraries in a process of their own, and MP4 and pictures for browsers, made with its help."""
