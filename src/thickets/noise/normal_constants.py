"""The polynomials that turn uniform words into normal numbers, the same for every kernel. Knows nothing of kernels.

`gaussian/1` is Box-Muller "all float32". A library's `log`, `sin` and `cos` differ between NumPy versions, compilers
and GPUs, and near-cancelling sums `base + step * noise` would show that as many units in the last place of a bf16
weight. So every kernel evaluates these polynomials with the same IEEE float32 multiplications, additions (never
fused) and square root, in the same order: the numbers are equal bit for bit on every machine, and within 1.4e-6 of
the exact Box-Muller value for all inputs (checked exhaustively by the tests: both inputs take 2**24 values).

With m = (x >> 8) + 1, so that u = m * 2**-24:

    m = 2**e * f, f in [sqrt(1/2), sqrt(2)), t = f - 1
    radius = sqrt((24 - e) * TWO_LN2 + t * (L0 + t * (L1 + ... + t * L7)))              = sqrt(-2 ln u)

With n = x >> 8, so that v = n * 2**-24:

    q = (n + 2**21) >> 22 (the nearest quarter turn), s = (n - (q << 22)) * 2**-21 in [-1, 1), w = s * s
    sine   = s * (S0 + w * (S1 + w * (S2 + w * S3)))                                     = sin(pi/4 s)
    cosine = 1 + w * (C1 + w * (C2 + w * C3))                                            = cos(pi/4 s)

and for odd q the two change places; cos 2 pi v is negative for q = 1, 2 and sin 2 pi v for q = 2, 3.
The coefficients are minimax fits (linear programming on 4,001 Chebyshev points), each rounded to float32. They are
part of `gaussian/1`: changing one is a new version.
"""

from __future__ import annotations

# Bits of the float32 nearest below sqrt(1/2): subtracting them makes the exponent field change at sqrt(1/2) * 2**e.
SQRT_HALF_BITS = 0x3F3504F3

TWO_LN2 = 1.3862943649291992

L0 = -1.9999998807907104
L1 = 1.000006914138794
L2 = -0.6667121648788452
L3 = 0.49943119287490845
L4 = -0.3976846933364868
L5 = 0.344248503446579
L6 = -0.32676297426223755
L7 = 0.2075744867324829

S0 = 0.7853981256484985
S1 = -0.08074536919593811
S2 = 0.002489872043952346
S3 = -3.587725950637832e-05

C1 = -0.3084245026111603
C2 = 0.01585039682686329
C3 = -0.00031916017178446054

# 2**-21: turns a signed offset within a quarter turn into s.
QUARTER = 4.76837158203125e-07
