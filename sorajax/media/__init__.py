"""Frames become files: upscaling, contact sheets, mp4, and the clip that signs itself."""
