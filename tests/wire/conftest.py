"""Laws are checked without a deadline: the machine may be busy with other things."""

from hypothesis import settings

settings.register_profile("unhurried")
settings.load_profile("unhurried")
