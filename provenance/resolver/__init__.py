"""C2PA's Soft Binding Resolution API (version 1.1.0 of its OpenAPI description): served from a registry, and asked.

``app`` answers ``/matches/byBinding``, ``/matches/byContent``, ``/manifests/{manifestId}`` and
``/services/supportedAlgorithms``; ``limits`` guards it; ``searching`` looks into an uploaded file, in a process of its
own; ``client`` asks a resolver, for ``provenance verify --resolver``.
"""
