"""Talking avatars of a LiveTalk server."""

from .client import Avatar, AvatarError, Format, Frame

__all__ = ["Avatar", "AvatarError", "Format", "Frame"]
