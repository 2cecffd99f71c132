"""What a user can get wrong. Every message is one line: the thing, the value, the remedy."""


class SorajaxError(Exception):
    """Base of every error that sorajax raises on purpose; the command line prints it and exits with 2."""


class ConfigError(SorajaxError, ValueError):
    """A configuration file or value that does not fit."""


class InputError(SorajaxError, ValueError):
    """A prompt, size, path or array that cannot be used."""


class CheckpointError(SorajaxError, ValueError):
    """Weights that are missing, corrupt, or of another shape."""


class TrainingError(SorajaxError, RuntimeError):
    """A training run that must stop, with the reason."""


class HostsError(SorajaxError, RuntimeError):
    """Several processes that could not be started as one."""
