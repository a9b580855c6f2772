"""Faces of video: found, followed through their own meshes, smoothed, measured."""
