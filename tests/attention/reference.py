"""Attention written down as its formula, in f64, and inputs for it."""

import numpy as np


def attention(q, k, v, length=None):
    """softmax(q k^T / sqrt(h)) v of [b, l, n, h] arrays; the first ``length`` keys count, one number or one a row."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    s = np.einsum("blnh,bsnh->bnls", q, k) / np.sqrt(q.shape[-1])
    length = np.broadcast_to(k.shape[1] if length is None else length, len(q))
    s = np.where(np.arange(k.shape[1]) < length[:, None, None, None], s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("bnls,bsnh->blnh", p / p.sum(-1, keepdims=True), v)


def gradients(q, k, v, do, length=None):
    """Of sum(do * attention(q, k, v)): by the softmax's derivative, written out."""
    q, k, v, do = (np.asarray(x, np.float64) for x in (q, k, v, do))
    scale = 1 / np.sqrt(q.shape[-1])
    s = np.einsum("blnh,bsnh->bnls", q, k) * scale
    length = np.broadcast_to(k.shape[1] if length is None else length, len(q))
    s = np.where(np.arange(k.shape[1]) < length[:, None, None, None], s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    dp = np.einsum("blnh,bsnh->bnls", do, v)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * scale
    return np.einsum("bnls,bsnh->blnh", ds, k), np.einsum("bnls,blnh->bsnh", ds, q), np.einsum("bnls,blnh->bsnh", p, do)


def inputs(b, l, s, n, h, seed=0):
    """q, k, v and do, f32."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((b, size, n, h), np.float32) for size in (l, s, s, l))


def relative(got, wanted):
    """Largest difference over the largest value wanted."""
    return float(np.abs(np.asarray(got, np.float64) - wanted).max() / np.abs(wanted).max())
