"""Single passes on a GPU: the rate of the device, packed against padded, kernels for attention, compiled code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from actors.arrays import Floats, Longs
from actors.backends.base import PassOutput, PassRequest
from actors.backends.pytorch.packed.attention import Windows, attend_by_length
from actors.backends.pytorch.packed.packed_pass import PackedPass
from actors.backends.pytorch.padded_pass import PaddedPass
from actors.backends.pytorch.prepared_pass import PassKind, run
from actors.batch import Batch
from actors.engine.collate import collate
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized
from benchmarks.gpu_bench import HALVES, MEANS, Bench
from benchmarks.gpu_engine import Note

_EXACT = "float32"


def matrix_rates(bench: Bench, note: Note) -> None:
    """Operations a second of a large matrix product; TF32 is off."""
    note("TF32 in float32 products", torch.backends.cuda.matmul.allow_tf32)
    for dtype in (*HALVES, _EXACT):
        left, right = (
            torch.randn(bench.sizes.square, bench.sizes.square, device=bench.device, dtype=getattr(torch, dtype))
            for _ in range(2)
        )
        seconds = bench.best_seconds(partial(torch.mm, left, right))
        bench.rates[dtype] = 2 * bench.sizes.square**3 / seconds
        note(f"{dtype}, TFLOP/s", bench.rates[dtype] / 1e12)


def packed_forward(bench: Bench, note: Note) -> None:
    """Packed passes of one size that follow each other, by kind of attention; only what the device computes."""
    for dtype in (HALVES[0], _EXACT):
        packed = bench.packed(bench.base, dtype)
        for mean in MEANS:
            batch = _batch_of(bench, mean)
            for name, attention in (("as the engine", packed.attention), ("by length", attend_by_length)):
                kind = PackedPass(packed.encoder, packed.head, attention, packed.transfer)
                seconds = _launch_seconds(bench, kind, batch)
                to = f"{dtype}, {mean}, attention {name} ({_name(attention)})"
                note(f"{to}: share of the rate", bench.share(bench.base, batch.lengths, seconds, dtype))
            with _without_cudnn():
                seconds = _launch_seconds(bench, kind, batch)
            note(
                f"{dtype}, {mean}, attention by length, cuDNN off: share of the rate",
                bench.share(bench.base, batch.lengths, seconds, dtype),
            )
            if bench.is_over:
                return


def attention_alone(bench: Bench, note: Note) -> None:
    """Attention of one layer, of windows of one length and of mixed ones, by implementation."""
    dtype = getattr(torch, HALVES[0])
    packed, heads = bench.packed(bench.base, HALVES[0]), max(bench.sizes.dim // 64, 1)
    for length in (16, 60, 180, 384):
        number = max(bench.sizes.pass_tokens // length, 2)
        rng = np.random.default_rng(length)
        mixed = np.sort(np.clip(rng.normal(length, length / 4, number), 4, 512).astype(np.int64))
        for kind, lengths in (("of one length", np.full(number, length)), ("mixed", mixed)):
            windows = Windows(tuple(lengths.tolist()), bench.device)
            shape = int(lengths.sum()), 3, heads, 64
            query, key, value = torch.randn(shape, device=bench.device, dtype=dtype).unbind(1)
            for attention in (packed.attention, attend_by_length):
                seconds = bench.best_seconds(partial(attention, query, key, value, windows))
                note(f"{length} tokens {kind}, {_name(attention)}: microseconds", seconds * 1e6)
            off = (packed.attention(query, key, value, windows) - attend_by_length(query, key, value, windows)).abs()
            note(f"{length} tokens {kind}: largest difference", float(off.max()))


def difference_of_precisions(bench: Bench, note: Note) -> None:
    """Logits of the same windows: half precision against float32, and packed against the module's own padded pass."""
    batch = _batch_of(bench, 180, shipped=True)
    real = np.arange(batch.width) < batch.lengths[:, None]
    exact = run(bench.packed(bench.shipped, _EXACT), PassRequest(batch, want_spans=True), bench.device)
    for dtype in (_EXACT, *HALVES):
        packed = run(bench.packed(bench.shipped, dtype), PassRequest(batch, True, None, True), bench.device)
        padded = run(bench.padded(bench.shipped, dtype), PassRequest(batch, True, None, True), bench.device)
        for name, left, right in (
            ("packed against packed float32", packed, exact),
            ("padded against packed float32", padded, exact),
            ("packed against padded", packed, padded),
        ):
            off = np.abs(_logits(left) - _logits(right))[:, real]
            note(f"{dtype}, {name}: largest and mean difference of logits", [float(off.max()), float(off.mean())])
        hidden = np.abs(np.asarray(packed.hidden) - np.asarray(padded.hidden))[real]
        note(f"{dtype}, packed against padded: largest difference of hidden states", float(hidden.max()))
        note(f"{dtype}, largest hidden state", float(np.abs(np.asarray(padded.hidden)[real]).max()))
    alone = _first_window(batch)
    for dtype in (_EXACT, *HALVES):
        packed_pass = bench.packed(bench.shipped, dtype)
        one = run(packed_pass, PassRequest(alone, want_spans=True), bench.device)
        all_of_them = run(packed_pass, PassRequest(batch, want_spans=True), bench.device)
        off = np.abs(_logits(one)[:, 0] - _logits(all_of_them)[:, 0, : alone.width])[:, : int(batch.lengths[0])]
        note(f"{dtype}, packed: largest difference of a window alone and in company", float(off.max()))


def transformers_loop(bench: Bench, note: Note) -> None:
    """A loop over the transformers module, padded, with the windows in order of length and in random order."""
    spec, shards = bench.windows(bench.base, 180)
    prepared = shards[0]
    lengths = prepared.lengths(spec.pair.specials)
    padded = bench.padded(bench.base, HALVES[0])
    orders = {
        "in random order": np.random.default_rng(1).permutation(len(lengths)),
        "sorted": np.argsort(-lengths, kind="stable"),
    }
    for size in (128, 32, 1):
        for name, order in orders.items():
            some = order[:: max(len(order) // 256, 1)] if size == 1 else order
            work = lengths[some]
            for cudnn in ("as torch has it", "off") if size > 1 else ("as torch has it",):
                with _without_cudnn(cudnn == "off"):
                    _loop(bench, padded, spec, prepared, some[: 4 * size], size)
                    seconds = bench.seconds(partial(_loop, bench, padded, spec, prepared, some, size))
                to = f"{size} a pass, {name}, cuDNN's attention {cudnn}"
                note(f"{to}: windows/s", len(some) / seconds)
                note(f"{to}: share of the rate", bench.share(bench.base, work, seconds, HALVES[0]))
                if bench.is_over:
                    return


def compiled(bench: Bench, note: Note) -> None:
    """The packed encoder through torch.compile, for passes of a few fixed sizes. The engine does not do so."""
    packed = bench.packed(bench.base, HALVES[0])
    for tokens in bench.sizes.fixed_tokens:
        for mode in ("default", "reduce-overhead") if bench.sizes.compiler == "inductor" else ("default",):
            if not bench.is_over:
                _compile(bench, note, packed, tokens, mode)


@torch.inference_mode()
def _compile(bench: Bench, note: Note, packed: PackedPass, tokens: int, mode: str) -> None:
    lengths = _batch_of(bench, 180, tokens).lengths
    # What is left of the tokens is one more window, so that the size is always the same.
    lengths = np.sort(np.append(lengths, max(tokens - int(lengths.sum()), 1)))
    windows = Windows(tuple(lengths.tolist()), bench.device)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 1000, int(lengths.sum()))).to(bench.device)
    positions = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])).to(bench.device)
    bounds, longest = windows.bounds, windows.longest
    takes_bounds = packed.attention is not attend_by_length

    def forward(ids: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
        # A kernel for any length takes the bounds as a tensor; else the lengths become part of the code.
        own = cast(Windows, _Bounds(bounds, longest)) if takes_bounds else windows
        return packed.encoder(ids, positions, None, own, packed.attention)

    options: dict[str, Any] = {"mode": mode} if bench.sizes.compiler == "inductor" else {}
    torch.compiler.reset()
    fast = torch.compile(forward, backend=bench.sizes.compiler, dynamic=False, **options)
    seconds = bench.seconds(partial(fast, ids, positions, bounds))
    note(f"{tokens} tokens, {mode}: seconds to compile and run once", seconds)
    for name, act in (("eager", forward), (mode, fast)):
        seconds = bench.best_seconds(partial(act, ids, positions, bounds))
        note(f"{tokens} tokens, {name}: share of the rate", bench.share(bench.base, lengths, seconds, HALVES[0]))


class _Bounds(NamedTuple):
    """What a kernel for windows of any length looks at in `Windows`."""

    bounds: Tensor
    longest: int


def _loop(bench: Bench, padded: PaddedPass, spec: EncoderSpec, prepared: Tokenized, order: Longs, size: int) -> None:
    for first in range(0, len(order), size):
        batch = collate(prepared, spec.pair, order[first : first + size], spec.pad_id, spec.uses_type_ids)
        run(padded, PassRequest(batch, want_spans=True), bench.device)


def _batch_of(bench: Bench, mean: int, tokens: int | None = None, shipped: bool = False) -> Batch:
    """Windows side by side in order of length, as a pass of the engine has them, of at most so many tokens."""
    spec, shards = bench.windows(bench.shipped if shipped else bench.base, mean)
    lengths = shards[0].lengths(spec.pair.specials)
    order, most = np.argsort(-lengths, kind="stable"), tokens or bench.sizes.pass_tokens
    fits = max(int(np.searchsorted(np.cumsum(lengths), most, side="right")), 1)
    # From the middle, where lengths are as they are on average.
    first = max((len(order) - fits) // 2, 0)
    chosen = order[first : first + fits]
    while len(chosen) > 1 and int(lengths[chosen].sum()) > most:
        chosen = chosen[1:]
    return collate(shards[0], spec.pair, chosen, spec.pad_id, spec.uses_type_ids)


def _launch_seconds(bench: Bench, kind: PassKind, batch: Batch) -> float:
    """Of a pass, with its copies, among passes that are launched without waiting for those before."""

    @torch.inference_mode()
    def launch() -> None:
        kind.prepare(PassRequest(batch, want_spans=True)).launch()

    return bench.best_seconds(launch)


def _logits(output: PassOutput) -> Floats:
    """[2, n, S]"""
    assert output.start_logits is not None
    assert output.end_logits is not None
    return np.stack([output.start_logits, output.end_logits])


def _first_window(batch: Batch) -> Batch:
    length, one = int(batch.lengths[0]), slice(0, 1)
    return Batch(
        batch.ids[:length],
        None if batch.types is None else batch.types[:length],
        batch.lengths[one],
        batch.passage_start[one],
        batch.passage_length[one],
        None if batch.cls is None else batch.cls[one],
        batch.pad_id,
    )


def _name(attention: Callable[..., Tensor]) -> str:
    return getattr(attention, "__qualname__", type(attention).__name__).partition(".")[0]


@contextmanager
def _without_cudnn(off: bool = True) -> Iterator[None]:
    """Whether torch may take cuDNN's attention, which plans for every new shape."""
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(before and not off)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
