"""What a user can get wrong. Every message is one line: the thing, the value, the remedy."""


class ProvenanceError(Exception):
    """Base of every error raised on purpose here; the command line prints it and exits with 2."""


class InputError(ProvenanceError, ValueError):
    """A path, array or argument that cannot be used."""


class MediaError(ProvenanceError, ValueError):
    """A file that is not readable video: missing, empty, cut short, or something else entirely."""


class KeyFileError(ProvenanceError, ValueError):
    """A key, certificate or trust list that cannot be used."""


class SigningError(ProvenanceError, RuntimeError):
    """A file that could not be signed, or whose fresh signature did not verify."""


class MarkingError(ProvenanceError, RuntimeError):
    """A video that could not be watermarked, or whose fresh watermark cannot be read back."""


class LogError(ProvenanceError, ValueError):
    """A transparency log, checkpoint or proof that cannot be read, or a log that cannot be written."""


class ProofError(ProvenanceError, ValueError):
    """A proof, checkpoint or log that can be read and does not hold. It is evidence, so its text should be kept."""


class RegistryError(ProvenanceError, RuntimeError):
    """A registry of signed clips that cannot be opened, read or written."""
