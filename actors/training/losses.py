"""Loss functions: span cross entropy, distillation, and two distances between embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def span_loss(start: Tensor, end: Tensor, allowed: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Mean cross entropy of start and end, over the tokens that an answer may touch.

    Args:
        start, end: [n, S] logits.
        allowed: [n, S] bool: passage tokens and the CLS token, as in decoding.
        first, last: [n] int64 columns of the label.
    """
    start, end = (logits.float().masked_fill(~allowed, float("-inf")) for logits in (start, end))
    return (F.cross_entropy(start, first) + F.cross_entropy(end, last)) / 2


def distillation_loss(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], allowed: Tensor, temperature: float
) -> Tensor:
    """Mean KL divergence of the student's start and end distributions from the teacher's (Hinton et al. 2015).

    Args:
        student: start and end logits, [n, S] each.
        teacher: start and end distributions, [n, S] each, 0 where not allowed. A window for which they are 0 everywhere
            adds nothing.
        allowed: [n, S] bool: passage tokens and the CLS token.
        temperature: divides the student's logits, and has divided the teacher's; the result is multiplied by its
            square.
    """
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        log_p = torch.log_softmax((ours.float() / temperature).masked_fill(~allowed, -1e4), dim=-1)
        losses.append(F.kl_div(log_p, theirs, reduction="batchmean"))
    return sum(losses, torch.zeros((), device=allowed.device)) * temperature**2 / 2


def token_error(hidden: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
    """Sum of squared differences between token vectors, divided by the sum of squares of those to keep.

    Args:
        hidden, kept: [n, S, D] token vectors.
        mask: [n, S] 1 for tokens, 0 for padding.
    """
    weights = mask.unsqueeze(-1).float()
    difference = hidden.float() - kept.float()
    return (difference.square() * weights).sum() / (kept.float().square() * weights).sum()


def embedding_distance(hidden: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
    """Mean over texts of 1 - cosine between their mean-pooled token vectors; arguments as for `token_error`."""
    weights = mask.unsqueeze(-1).float()
    ours, theirs = ((vectors.float() * weights).sum(1) / weights.sum(1) for vectors in (hidden, kept))
    return (1 - F.cosine_similarity(ours, theirs)).mean()
